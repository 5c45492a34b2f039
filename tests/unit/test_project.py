"""Rules about the project itself that no other tool checks."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stepwell.version import __version__

ROOT = Path(__file__).parents[2]
TARGETS = ("demo", "test", "soak", "bench", "lint", "types", "fmt", "docs", "proto")
MODULES = sorted((ROOT / "src").rglob("*.py"))


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("target", TARGETS)
def test_make_targets_are_one_line_and_make_their_environment(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = re.findall(rf"^{target}:(.*?);(.*)$", makefile, re.MULTILINE)
    needs, command = line
    assert "$(ENV)" in needs or "lint" in needs
    assert "$(BIN)/" in command


def test_the_ci_runs_what_people_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").rstrip().endswith("exec make test")


def test_the_version_is_stated_once() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert "version" in _project()["project"]["dynamic"]
    assert "version" not in _project()["project"]


def test_warnings_and_unknown_marks_fail_the_tests() -> None:
    pytest_options = _project()["tool"]["pytest"]["ini_options"]
    assert pytest_options["filterwarnings"] == ["error"]
    assert {"--strict-markers", "--strict-config"} <= set(pytest_options["addopts"])
    assert pytest_options["xfail_strict"] is True


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name.endswith("_pb2.py") or not text:
        return  # generated, or a package that is nothing but a folder
    assert ast.get_docstring(ast.parse(text)), path
