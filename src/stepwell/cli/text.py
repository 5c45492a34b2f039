"""How the command line writes values: columns, JSON, times, errors."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

COLORS = {
    "COMPLETED": "green",
    "READY": "green",
    "FAILED": "red",
    "RUNNING": "cyan",
    "WAITING": "cyan",
    "CANCELLED": "yellow",
    "DRAINING": "yellow",
}
SHORT_CHARS = 2_048  # What is longer is shown in part: a terminal's page.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def print_json(value: Any) -> None:
    """Print one JSON document, indented, for people and programs alike."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_json_line(value: Any) -> None:
    """Print one JSON document on one line, and let readers of a pipe have it now."""
    click.echo(msgspec.json.encode(value).decode())


def print_columns(head: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under their heads, aligned; `empty` in place of no rows, on stderr."""
    cells = [[plain(cell) for cell in row] for row in rows]
    if not cells:
        click.echo(empty, err=True)
        return
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    click.echo(click.style(_join(head, widths), dim=True))
    for row in cells:
        click.echo(_join(row, widths))


def _join(row: Sequence[str], widths: Sequence[int]) -> str:
    parts = [
        click.style(cell, fg=COLORS[cell]) + " " * (width - len(cell))
        if cell in COLORS
        else cell.ljust(width)
        for cell, width in zip(row, widths, strict=True)
    ]
    return "  ".join(parts).rstrip()


def plain(value: object) -> str:
    """A value on one line, without what would move a terminal's cursor."""
    return _CONTROL.sub(" ", "" if value is None else str(value))


def json_text(value: Any) -> str:
    """A value as JSON on one line."""
    return plain(msgspec.json.encode(value).decode())


def shortened(text: str, *, full: bool) -> str:
    """The beginning of a long text, unless it is asked for in full."""
    if full or len(text) <= SHORT_CHARS:
        return text
    return f"{text[:SHORT_CHARS]} ... ({len(text):,} characters; --full shows all)"


def parse_time_ms(text: str | None) -> int | None:
    """The API's time text as milliseconds since the epoch."""
    if not text:
        return None
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def local_time(text: str | None) -> str:
    """The API's time text as a person here reads it, to the second."""
    if not text:
        return ""
    moment = datetime.fromisoformat(text).astimezone(UTC)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(ms: int | str | None) -> str:
    """Milliseconds as `12 ms`, `3.4 s` or `2 min 5 s`. The API writes them as text."""
    if ms is None:
        return ""
    ms = int(ms)
    if ms < 1_000:
        return f"{ms} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(ms // 1000, 60)
    return f"{minutes} min {seconds} s"


def waiting_text(waiting: dict[str, Any], now_ms: int) -> str:
    """What a run waits for, and how long still if that ends by itself."""
    until_ms = parse_time_ms(waiting.get("until"))
    text = plain(waiting.get("text"))
    return text if until_ms is None else f"{text}, {duration(max(0, until_ms - now_ms))} to go"


def cancellation_text(cancellation: dict[str, Any]) -> str:
    """What cancelled a run."""
    parts = (cancellation.get("reason"), cancellation.get("event"))
    return plain(", ".join(str(part) for part in parts if part))


def error_text(output: Any) -> str:
    """What a failed step, attempt or run says of itself: `Name: message [code]`, on one line."""
    error = _error(output)
    if not isinstance(error, dict):
        return plain(error)
    name, message, code = error.get("name"), error.get("message"), error.get("code")
    text = ": ".join(str(part) for part in (name, message) if part)
    if isinstance(code, str) and code not in ("", "unknown"):  # an error of the program has none
        text = f"{text} [{code}]"
    return plain(text)


def error_stack(output: Any) -> str:
    """The stack of a failed step, attempt or run as the SDK sent it; empty if it sent none."""
    error = _error(output)
    stack = error.get("stack") if isinstance(error, dict) else None
    return stack if isinstance(stack, str) else ""


def _error(output: Any) -> Any:
    if isinstance(output, dict) and isinstance(output.get("error"), dict):
        return output["error"]
    return output
