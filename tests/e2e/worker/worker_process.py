"""`stepwell worker` as a user runs it: a process, in a directory with a program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Self

from tests.server_process import clean_environ, die_with_the_tests, poll

if TYPE_CHECKING:
    import signal
    from pathlib import Path

START_S = 30.0
END_S = 20.0

PROGRAM = """
import asyncio, os, time
import stepwell

APP = os.path.basename(os.getcwd())
client = stepwell.Client(app_id=APP)
VERSION = "one"

def note(text):
    with open("notes", "a") as file:
        file.write(text + "\\n")

@client.function("note", event=f"{APP}/note")
async def noted(ctx):
    note(f"{VERSION} {os.getpid()}")

@client.function("slow", event=f"{APP}/slow")
async def slow(ctx):
    note("begun")
    while not os.path.exists("go"):
        await asyncio.sleep(0.02)
    note("ended")
"""


class WorkerProcess:
    """One `stepwell worker`, from `with` to its end."""

    def __init__(self, *words: str, cwd: Path, server: str, **environ: str) -> None:
        self.cwd = cwd
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stepwell.cli", "worker", *words],
            cwd=cwd,
            env=clean_environ(STEPWELL_DEV=server, PYTHONDONTWRITEBYTECODE="1", **environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_the_tests,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(END_S)
        assert not self._reader.is_alive(), f"something of it runs on:\n{self.output}"

    def _read(self) -> None:
        assert self._process.stdout is not None, "its output is a pipe"
        with self._process.stdout as output:
            for raw in output:
                self._lines.append(raw.decode(errors="replace").rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self._lines)

    @property
    def pid(self) -> int:
        return self._process.pid

    def says(self, pattern: str, times: int = 1) -> list[str]:
        """What it said of this, when it has been said so often; the groups, if there are any."""
        found: list[str] = []

        def is_said() -> bool:
            found[:] = re.findall(pattern, self.output)
            return len(found) >= times or self._process.poll() is not None

        try:
            poll(is_said, f"the worker to say {pattern!r}", timeout_s=START_S)
        except AssertionError as late:
            raise AssertionError(f"{late}:\n{self.output}") from None
        assert len(found) >= times, f"{pattern!r} was not said {times} times:\n{self.output}"
        return found

    def tell(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """Its exit code."""
        code = self._process.wait(END_S)
        self._reader.join(END_S)
        return code

    def notes(self) -> list[str]:
        """What the program's functions wrote down."""
        file = self.cwd / "notes"
        return file.read_text().splitlines() if file.exists() else []

    def noted(self, wanted: str) -> str:
        """The first note that begins with this, when it is there."""
        poll(
            lambda: any(note.startswith(wanted) for note in self.notes()),
            f"a note {wanted!r}",
            timeout_s=START_S,
        )
        return next(note for note in self.notes() if note.startswith(wanted))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def health(port: int, path: str = "/ready") -> tuple[int, dict[str, Any]]:
    """Status and body; 0 while nothing listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}
