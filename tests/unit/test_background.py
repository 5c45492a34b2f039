"""The process's own loop."""

from __future__ import annotations

import subprocess
import sys
import threading

from stepwell.background import Background, background


async def thread_name() -> str:
    return threading.current_thread().name


def test_work_runs_on_the_background_thread() -> None:
    assert background().submit(thread_name()).result(5) == "stepwell-http"
    assert background() is background()


def test_stopped_loop_has_closed_its_session_and_thread() -> None:
    own = Background()

    async def open_session() -> object:
        return own.session()

    session = own.submit(open_session()).result(5)
    own.stop()

    assert session.closed  # type: ignore[attr-defined]
    assert not own.is_alive


def test_program_ends_with_an_open_session_and_no_complaint() -> None:
    program = (
        "import asyncio\n"
        "from stepwell.background import background\n"
        "async def use(): background().session()\n"
        "background().submit(use()).result(5)\n"
        "print('done')\n"
    )

    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
