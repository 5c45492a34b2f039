"""What is being measured right now, on standard error."""

from __future__ import annotations

import sys
import time

_BEGUN_S = time.monotonic()


def show(text: str) -> None:
    """Replace the line on a terminal; add one elsewhere."""
    took_s = time.monotonic() - _BEGUN_S
    line = f"[{took_s // 60:.0f}:{took_s % 60:02.0f}] {text}"
    if sys.stderr.isatty():
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def clear() -> None:
    """Make room for what is printed next."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
