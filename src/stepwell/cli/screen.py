"""Lines that stay, and on a terminal one line below them that says what goes on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, Self

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


class Screen(Protocol):
    """Where a command that watches something writes. A `with` block clears the status line."""

    has_status: bool
    """Whether anybody sees the status line."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def line(self, text: str, *, color: str | None = None) -> None:
        """Write a line that stays."""
        ...

    def status(self, text: str) -> None:
        """Say what goes on now; the next call replaces it, an empty text takes it away."""
        ...

    def note(self, text: str) -> None:
        """Say something on standard error, where the status line is not in its way."""
        ...


def open_screen() -> Screen:
    """The screen for this process's standard output."""
    return _Terminal() if sys.stdout.isatty() else _Pipe()


class _Pipe:
    """Plain lines, at once; nothing that changes."""

    has_status = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def line(self, text: str, *, color: str | None = None) -> None:
        click.echo(click.style(text, fg=color) if color else text)

    def status(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        click.echo(text, err=True)


class _Terminal:
    """Lines above, a spinner below, drawn by rich."""

    has_status = True

    def __init__(self) -> None:
        from rich.console import Console

        self._console: Console = Console(highlight=False)
        self._status: Status | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.status("")

    def line(self, text: str, *, color: str | None = None) -> None:
        self._console.print(text, style=color, markup=False, soft_wrap=True)

    def status(self, text: str) -> None:
        from rich.text import Text

        shown = Text(text, overflow="ellipsis", no_wrap=True)
        if not text:
            if self._status is not None:
                self._status.stop()
            self._status = None
        elif self._status is None:
            self._status = self._console.status(shown)
            self._status.start()
        else:
            self._status.update(shown)

    def note(self, text: str) -> None:
        self.status("")
        click.echo(text, err=True)
