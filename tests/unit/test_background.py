"""The process's own loop."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from stepwell.background import Background, LookupThreads, background
from tests.unit.event_server import EventServer


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


def test_thread_that_outlives_the_main_thread_can_send() -> None:
    program = (
        "import sys, threading, stepwell\n"
        "client = stepwell.Client(app_id='a', event_api_base_url=sys.argv[1])\n"
        "main = threading.main_thread()\n"
        "def send():\n"
        "    main.join()\n"
        "    print(client.send_sync(stepwell.Event(name='late')))\n"
        "threading.Thread(target=send).start()\n"
    )
    with EventServer() as server:
        url = server.url.replace("127.0.0.1", "localhost")  # a name, which must be looked up
        done = subprocess.run(
            [sys.executable, "-c", program, url],
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )

    assert (done.stdout, done.stderr) == ("['id-1-0']\n", "")


def test_blocking_job_that_fails_tells_its_error() -> None:
    def fail() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        LookupThreads().submit(fail).result(5)
