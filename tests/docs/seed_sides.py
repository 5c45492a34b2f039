"""The SDKs that run the blocks of the pages, each behind the same few words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest

from tests.compat.languages import NODE
from tests.compat.worker import OFFICIAL, OURS
from tests.docs import seed_go, seed_python, seed_typescript
from tests.docs.seed_workers import SeedWorker, need

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.compat.worker import Sdk
    from tests.docs.seed_blocks import Snippet


class Side(Protocol):
    """An SDK with the blocks of its language."""

    @property
    def name(self) -> str: ...

    @property
    def snippets(self) -> tuple[Snippet, ...]: ...

    def need(self) -> None:
        """Skip the test where this machine cannot have what it needs."""
        ...

    def worker(self, snippet: Snippet, directory: Path, environ: Mapping[str, str]) -> SeedWorker:
        """The block's program, not yet started."""
        ...


class PythonSide(NamedTuple):
    """`sdk` is the official one or ours."""

    sdk: Sdk

    @property
    def name(self) -> str:
        return f"python-{self.sdk.name}"

    @property
    def snippets(self) -> tuple[Snippet, ...]:
        return seed_python.SNIPPETS

    def need(self) -> None:
        assert self.sdk.python.exists(), f"{self.sdk.python} is missing; `make test` makes it"

    def worker(self, snippet: Snippet, directory: Path, environ: Mapping[str, str]) -> SeedWorker:
        self.need()
        file = directory / f"{snippet.name}.py"
        file.write_text(seed_python.program(snippet, self.sdk.name))
        return SeedWorker([self.sdk.python, file], directory, {**environ, **snippet.environ})


class TypeScriptSide(NamedTuple):
    """`version` is a major one."""

    version: str

    @property
    def name(self) -> str:
        return f"typescript-{self.version}"

    @property
    def snippets(self) -> tuple[Snippet, ...]:
        return tuple(
            each for each in seed_typescript.SNIPPETS if not each.sdks or self.version in each.sdks
        )

    def need(self) -> None:
        need(NODE, "npm")

    def worker(self, snippet: Snippet, directory: Path, environ: Mapping[str, str]) -> SeedWorker:
        self.need()
        source = seed_typescript.program(snippet, self.version)
        seed_typescript.lay_out(directory, {snippet.name: source}, self.version)
        command = seed_typescript.command(snippet, directory)
        return SeedWorker(command, directory, {**environ, **snippet.environ})


class GoSide(NamedTuple):
    """The newest version."""

    name: str = "go"

    @property
    def snippets(self) -> tuple[Snippet, ...]:
        return seed_go.SNIPPETS

    def need(self) -> None:
        need(seed_go.HOME / "bin", "go")
        assert seed_go.is_current(), "the Go blocks were built before they changed: `make test`"

    def worker(self, snippet: Snippet, directory: Path, environ: Mapping[str, str]) -> SeedWorker:
        self.need()
        return SeedWorker([seed_go.binary(snippet)], directory, {**environ, **snippet.environ})


PYTHON, STEPWELL = PythonSide(OFFICIAL), PythonSide(OURS)
TYPESCRIPT_3, TYPESCRIPT_4 = TypeScriptSide("v3"), TypeScriptSide("v4")
GO = GoSide()
SIDES: tuple[Side, ...] = (PYTHON, STEPWELL, TYPESCRIPT_3, TYPESCRIPT_4, GO)


def marks_of(side: Side) -> tuple[pytest.MarkDecorator, ...]:
    """Those of a test of this side."""
    return () if side is STEPWELL else (pytest.mark.compat,)


def params(*sides: Side) -> list[object]:
    """Sides as parameters of a test."""
    return [pytest.param(side, id=side.name, marks=marks_of(side)) for side in sides]


def snippet(side: Side, name: str) -> Snippet:
    """A side's block by its name, without the page's."""
    return next(each for each in side.snippets if each.name == f"connect_{name}")
