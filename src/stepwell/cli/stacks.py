"""Stacks of errors, as much of them as helps at a glance."""

from __future__ import annotations

from stepwell.cli.text import plain

FRAMES_SHOWN = 3
LINES_SHOWN = 6  # Of a stack whose frames are not known to be Python's.
MORE = "... (--stack shows all)"

_FRAME = '  File "'
_CHAIN = "Traceback (most recent call last):"


def stack_lines(stack: str, *, whole: bool) -> list[str]:
    """A stack's lines for people.

    Args:
        stack: As the SDK sent it: Python's ends with the frame that raised, others begin with it.
        whole: All of it; else the frames nearest to the error, without the error itself, which
            the line above shows.
    """
    lines = [plain(line) for line in stack.rstrip().splitlines()]
    if whole:
        return lines
    last = max((n for n, line in enumerate(lines) if line == _CHAIN), default=0)
    starts = [n for n, line in enumerate(lines) if n >= last and line.startswith(_FRAME)]
    if not starts:
        return lines if len(lines) <= LINES_SHOWN else [*lines[:LINES_SHOWN], MORE]
    first = starts[-FRAMES_SHOWN:][0]
    end = starts[-1] + 1
    while end < len(lines) and lines[end].startswith("    "):
        end += 1
    more = [MORE] if starts[0] != first or last > 0 else []
    return [*more, *lines[first:end]]
