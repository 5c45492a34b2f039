"""Which code blocks the pages have, in their order, and what becomes of each.

`seed/index.tsv` has a line for every block: page, section, language, title, the digest of its text,
and its file in `seed/`, or `-` for the blocks of a subject that is not about running functions.
The pages themselves are not part of this repository; `read_page` finds the blocks in them.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = Path(__file__).with_name("seed")
INDEX = SEED / "index.tsv"

LEFT_OUT = {
    "Realtime": "a subject of its own: publishing and subscribing",
    "React hooks / Next.js": "a subject of its own: Realtime in a browser",
    "Durable Endpoints": "a subject of its own: steps in the handlers of HTTP requests",
}
"""The pages whose blocks do not run here, and why."""

_HEADING = re.compile(r"(#+) (.*)")
_FENCE = re.compile(r"```(\w+)\s*(.*)")
_TITLE = re.compile(r'\{\{\s*(?:title|filename): "(.*)"\s*\}\}')
_DIGEST_CHARS = 12


class Printed(NamedTuple):
    """A block as it stands on a page."""

    page: str
    section: str
    language: str
    title: str
    digest: str


class Entry(NamedTuple):
    """A block of the index; `file` is empty if it is left out."""

    printed: Printed
    file: str


def digest_of(text: str) -> str:
    """What the index knows a text by."""
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]


def entries() -> list[Entry]:
    """The index, in the order of the pages."""
    found = []
    for line in INDEX.read_text(encoding="utf-8").splitlines():
        *printed, file = line.split("\t")
        found.append(Entry(Printed(*printed), "" if file == "-" else file))
    return found


def read_page(text: str) -> Iterator[tuple[Printed, str]]:
    """The blocks of a text that may hold several pages, each with what is in it."""
    page = section = ""
    lines = iter(text.splitlines())
    for line in lines:
        if heading := _HEADING.fullmatch(line):
            if len(heading[1]) == 1:
                page, section = heading[2].replace("&#x20;", "").strip(), ""
            else:
                section = heading[2]
        elif fence := _FENCE.fullmatch(line):
            block = "".join(f"{each}\n" for each in iter(lines.__next__, "```"))
            title = _TITLE.fullmatch(fence[2])
            yield (
                Printed(page, section, fence[1], title[1] if title else "", digest_of(block)),
                block,
            )
