"""Lines, and the status line below them on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

from stepwell.cli.screen import open_screen

if TYPE_CHECKING:
    from io import FileIO

    import pytest

PROGRAM = """
from stepwell.cli.screen import open_screen
with open_screen() as screen:
    screen.status("going on")
    screen.line("a line")
    screen.note("a note")
    screen.status("going on again")
"""
CLEAR_LINE = b"\x1b[2K"


def test_without_a_terminal_there_are_lines_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with open_screen() as screen:
        assert not screen.has_status
        screen.status("unseen")
        screen.line("a line")
        screen.note("a note")
    assert tuple(capsys.readouterr()) == ("a line\n", "a note\n")


def test_on_a_terminal_the_status_line_is_gone_before_a_note() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm"},
        )
        os.close(theirs)
        shown = b""
        while chunk := _read(terminal):
            shown += chunk
    assert process.wait(30) == 0
    before, _, after = shown.partition(b"a note")
    assert b"going on" in before
    assert before.endswith(CLEAR_LINE)
    assert b"going on again" in after


def _read(terminal: FileIO) -> bytes:
    try:
        return terminal.read(4_096) or b""
    except OSError:  # its last user left
        return b""
