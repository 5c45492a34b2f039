"""Names of functions, as clients may write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepwell.server.runtime import FunctionEntry


def bare_id(entry: FunctionEntry) -> str:
    """The function's id without its app's in front, as the user wrote it."""
    return entry.slug.removeprefix(f"{entry.app_name}-")


def matches(entry: FunctionEntry, name: str) -> bool:
    """Whether this is the function's bare id, its slug or its UUID."""
    return name in (bare_id(entry), entry.slug, entry.function_id)
