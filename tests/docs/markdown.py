"""The code blocks and the links of the project's own pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)|<(https?://[^>]+)>")


class Block(NamedTuple):
    """One fenced block and where it stands."""

    page: str
    language: str
    text: str


def pages() -> list[Path]:
    """README, CHANGELOG and everything under docs."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(*languages: str) -> Iterator[Block]:
    """The blocks of these languages, on pages that are ours to keep right."""
    for page in pages():
        name = page.relative_to(ROOT).as_posix()
        if name.startswith("docs/reference/wire/"):
            continue  # what peers send, not what users type
        for found in _FENCE.finditer(page.read_text(encoding="utf-8")):
            if found[1] in languages:
                yield Block(name, found[1], found[2])


def links(page: Path) -> list[str]:
    """What the page links to, code aside."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"`[^`\n]*`", "", text)
    return [found[1] or found[2] for found in _LINK.finditer(text)]
