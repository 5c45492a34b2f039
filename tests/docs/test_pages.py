"""What the pages say is so: commands parse, code is that of the examples, links lead somewhere."""

from __future__ import annotations

import ast
import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest

from stepwell.cli.root import root
from tests.docs.error_codes import error_codes
from tests.docs.markdown import ROOT, Block, blocks, links, pages
from tests.docs.tables import TABLES, with_table

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = "\n\n".join(
    path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.py"))
)
# The one block that is no example's: what changes in a program of the official SDK.
IMPORT_LINES = "import stepwell as inngest\nfrom stepwell.connect import connect\n"

PYTHON = list(blocks("python"))
SHELL = list(blocks("sh"))


def _name(block: Block) -> str:
    return f"{block.page}-{block.text.split(chr(10))[0][:40]}"


@pytest.mark.parametrize("block", PYTHON, ids=_name)
def test_python_on_a_page_is_part_of_an_example_that_runs(block: Block) -> None:
    assert block.text in EXAMPLES or block.text == IMPORT_LINES


def test_there_are_blocks_to_look_at() -> None:
    assert len(PYTHON) > 5
    assert len(SHELL) > 10


def _command_lines(text: str) -> list[list[str]]:
    """The words of each command, without variables in front."""
    joined = text.replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in joined.splitlines()]
    commands = []
    for words in lines:
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words:
            commands.append(words)
    return commands


def _check_stepwell(words: list[str]) -> None:
    """Parse a command line as far as it goes without running it."""
    command: click.Command = root
    ctx = click.Context(root, info_name="stepwell")
    while isinstance(command, click.Group):
        name, words = words[0], words[1:]
        found = command.get_command(ctx, name)
        assert found is not None, f"no such command: {name}"
        command = found
    command.make_context(command.name, words, parent=ctx)


def _check_make(words: list[str]) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert words[0] in targets


def _check_python(words: list[str]) -> None:
    if words[0] == "-c":
        compile(words[1], "a page", "exec")
    elif words[0] != "-m":
        assert (ROOT / words[0]).is_file()


CHECKS = {"stepwell": _check_stepwell, "make": _check_make, "python": _check_python}
_COMMAND = re.compile(r"\s*(?:[A-Z_]+=\S+ )?(?:stepwell|python|pip) ")
KNOWN = {"python3", ".", "pip", "export", "openssl", "git", "cd", "curl"}


@pytest.mark.parametrize("block", SHELL, ids=_name)
def test_commands_on_a_page_are_commands(block: Block) -> None:
    for words in _command_lines(block.text):
        check = CHECKS.get(words[0])
        assert check is not None or words[0] in KNOWN, words
        if check is not None:
            check(words[1:])


def test_commands_in_the_docstrings_of_examples_are_commands() -> None:
    seen = 0
    for path in sorted((ROOT / "examples").glob("*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        for line in docstring.splitlines():
            if not _COMMAND.match(line):
                continue
            for words in _command_lines(line):
                seen += 1
                if words[0] in CHECKS:
                    CHECKS[words[0]](words[1:])
    assert seen > 8


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_that_exist(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http://", "https://", "#")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path
        assert target.exists(), link
        if anchor:
            heads = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {head.lower().replace(" ", "-") for head in heads}, link


def test_every_error_code_has_a_page_and_every_page_a_code() -> None:
    codes = error_codes()
    documented = {path.stem for path in (ROOT / "docs" / "errors").glob("*.md")} - {"README"}
    assert {code: places for code, places in codes.items() if code not in documented} == {}
    assert documented - set(codes) == set()


@pytest.mark.parametrize(
    "page",
    [path for path in pages() if path.parent.name == "errors" and path.stem != "README"],
    ids=lambda path: path.stem,
)
def test_an_error_page_says_what_happened_why_and_what_to_do(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    head, what, *rest = text.split("\n\n")
    assert head == f"# `{page.stem}`"
    assert what.rstrip("\n").endswith(".")
    assert [part for part in rest if part.startswith("## ")] == ["## Why", "## What to do"]


@pytest.mark.parametrize("page", TABLES, ids=lambda path: path.name)
def test_tables_of_the_reference_are_fresh(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_table(text, TABLES[page]()) == text, "run `make docs`"


def test_every_page_that_the_source_cites_exists() -> None:
    cited = {
        page
        for path in sorted((ROOT / "src").rglob("*.py"))
        for page in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert len(cited) > 5
    assert {page for page in cited if not (ROOT / page).is_file()} == set()
