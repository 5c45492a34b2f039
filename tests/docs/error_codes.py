"""Every error code that the source can give, read from the source itself."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[2] / "src" / "stepwell"

_CALLS_WITH_CODE_THIRD = {"error_response"}


def error_codes() -> dict[str, list[str]]:
    """The codes, each with the places that give it, such as `wire/keys.py:35`."""
    found: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if path.name.endswith("_pb2.py"):
            continue
        name = path.relative_to(SOURCE).as_posix()
        for code, line in _codes(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(code, []).append(f"{name}:{line}")
    return found


def _codes(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """`code=` of a call, `code =` of a class or an object, the third word of an error response."""
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        value: ast.expr | None = None
        match node:
            case ast.Call(func=ast.Name(id=name), args=[_, _, third, *_]) if (
                name in _CALLS_WITH_CODE_THIRD
            ):
                value = third
            case ast.keyword(arg="code"):
                value = node.value
            case ast.Assign(targets=[ast.Name(id="code") | ast.Attribute(attr="code")]):
                value = node.value
            case ast.AnnAssign(target=ast.Name(id="code")):
                value = node.value
        if value is not None:
            yield from _texts(value, constants)


def _texts(value: ast.expr, constants: dict[str, ast.expr]) -> Iterator[tuple[str, int]]:
    match value:
        case ast.Constant(value=str(text)):
            yield text, value.lineno
        case ast.Name(id=name) if name in constants:
            yield from _texts(constants[name], {})
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body, constants)
            yield from _texts(orelse, constants)
        case ast.BoolOp(values=values):
            for part in values:
                yield from _texts(part, constants)
