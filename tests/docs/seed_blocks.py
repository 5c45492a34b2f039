"""The blocks of the pages as programs: what is replaced in them, by a table of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tests.docs.seed_index import SEED

if TYPE_CHECKING:
    from collections.abc import Iterable

APP_ID = "my-app"  # what the page calls it
EVENT, FUNCTION = "user.created", "handle-signup"


class Substitution(msgspec.Struct, frozen=True):
    """A text that is replaced wherever it is printed; `sdk` is empty if for every SDK."""

    printed: str
    replacement: str
    sdk: str = ""


class Snippet(msgspec.Struct, frozen=True, kw_only=True):
    """A block, how it becomes a program, and what must be seen of it.

    Attributes:
        name: Of its file in `seed/`, without the ending.
        place: Where it stands: a whole `program`, a `fragment` after what the first block begins
            with, or where the language's own module says.
        environ: What its program is started with.
        connections: What the server must know of each, by the names of its API.
        says: What the program must print.
        sdks: The SDKs that have what it shows; empty if all.
    """

    name: str
    place: str = "fragment"
    environ: dict[str, str] = msgspec.field(default_factory=dict)
    connections: tuple[dict[str, Any], ...] = ({},)
    says: tuple[str, ...] = ()
    sdks: tuple[str, ...] = ()


def printed(file: str) -> str:
    """The block as it is on the page."""
    return (SEED / file).read_text(encoding="utf-8")


def substituted(text: str, table: Iterable[Substitution], sdk: str = "") -> str:
    """The text with what the table replaces for this SDK."""
    for each in table:
        if each.sdk in ("", sdk):
            text = text.replace(each.printed, each.replacement)
    return text


def replaced(text: str, old: str, new: str) -> str:
    """The text with the one place that reads `old` reading `new`."""
    assert text.count(old) == 1, f"{text.count(old)} times in the block: {old!r}"
    return text.replace(old, new)


def assert_complete(
    ending: str, snippets: Iterable[Snippet], table: Iterable[Substitution]
) -> None:
    """Every file with this ending is a case, and every substitution has something to replace."""
    files = sorted(path.stem for path in SEED.glob(f"*.{ending}"))
    assert files == sorted(snippet.name for snippet in snippets)
    text = "".join(printed(f"{name}.{ending}") for name in files)
    for substitution in table:
        assert substitution.printed in text, substitution
