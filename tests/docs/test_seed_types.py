"""The TypeScript blocks of the pages are checked for their types, with each version of the SDK."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.docs.seed_sides import TYPESCRIPT_3, TYPESCRIPT_4, TypeScriptSide
from tests.docs.seed_typescript import TOOLS, TSC, lay_out, program
from tests.docs.seed_workers import need

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.compat

OPTIONS = (
    "--noEmit", "--strict", "--skipLibCheck",
    "--module", "esnext",
    "--moduleResolution", "bundler",
    "--target", "es2022",
    "--allowImportingTsExtensions",
    "--typeRoots", str(TOOLS / "@types"),
    "--types", "node,bun",
)  # fmt: skip


@pytest.mark.parametrize("side", [TYPESCRIPT_3, TYPESCRIPT_4], ids=lambda side: side.name)
def test_the_types_are_right(side: TypeScriptSide, tmp_path: Path) -> None:
    assert not errors(side, tmp_path, {each.name: program(each, side.version)
                                       for each in side.snippets})  # fmt: skip


def test_wrong_types_are_seen(tmp_path: Path) -> None:
    (block,) = (each for each in TYPESCRIPT_4.snippets if each.name == "connect_max_concurrency")
    wrong = program(block, "v4").replace("maxWorkerConcurrency: 10", "maxWorkerConcurrency: 'ten'")
    assert "TS2322" in errors(TYPESCRIPT_4, tmp_path, {"wrong": wrong})


def errors(side: TypeScriptSide, directory: Path, programs: dict[str, str]) -> str:
    """What the compiler says of the programs."""
    need(TSC, "npm")
    lay_out(directory, programs, side.version)
    checked = subprocess.run(
        [TSC, *OPTIONS, *(f"{name}.ts" for name in programs)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert bool(checked.returncode) == bool(checked.stdout), checked.stderr
    return checked.stdout
