"""`stepwell demo` keeps what the README says of it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.server_process import clean_environ, poll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-m", "stepwell.cli", "demo"]
DEMO_S = 60.0

pytestmark = pytest.mark.timeout(100)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the demo's temporary directory goes, so that what it leaves is seen."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def _ports_taken() -> Iterator[None]:
    """8288 and 8289 in use, by us or by somebody else on this machine."""
    taken = []
    for port in (8288, 8289):
        sock = socket.socket()
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen()
        except OSError:
            sock.close()
        else:
            taken.append(sock)
    yield
    for sock in taken:
        sock.close()


def _start(scratch: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        COMMAND,
        cwd=scratch.parent,
        env=clean_environ(TMPDIR=str(scratch)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _assert_nothing_left(scratch: Path, children: list[psutil.Process]) -> None:
    poll(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE
                         for child in children),
         "the demo's processes to end", timeout_s=10)  # fmt: skip
    assert sorted(path.name for path in scratch.parent.iterdir()) == ["scratch"]


@pytest.mark.usefixtures("_ports_taken")
def test_the_demo_ends_by_itself_and_shows_every_step(scratch: Path) -> None:
    with _start(scratch) as demo:
        out, err = demo.communicate(timeout=DEMO_S)
    assert (demo.returncode, err) == (0, ""), out + err
    told = [line.split() for line in out.splitlines() if line.startswith("  +")]
    steps = [(words[3], words[4], words[5]) for words in told]
    assert set(steps[:3]) == {
        ("step", "price-order", "completed"),
        ("step", "reserve-stock", "completed"),
        ("step", "check-address", "completed"),
    }
    assert steps[3:] == [
        ("sleep", "time-to-cancel", "completed"),
        ("attempt", "charge-card", "failed"),
        ("step", "charge-card", "completed"),
        ("step", "send-confirmation", "completed"),
    ]
    assert '{"cents":6800,"reservation":"reservation-1042","payment":"payment-1042"}' in out
    assert "stepwell dev" in out
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_demo_and_all_that_it_started(
    scratch: Path, number: signal.Signals
) -> None:
    with _start(scratch) as demo:
        poll(lambda: bool(_descendants(demo.pid)), "the demo to start its worker", timeout_s=30)
        children = _descendants(demo.pid)
        demo.send_signal(number)
        _, err = demo.communicate(timeout=30)
    assert (demo.returncode, err) == (128 + number, "")
    _assert_nothing_left(scratch, children)
    assert list(scratch.iterdir()) == []


def test_the_demo_killed_leaves_no_process(scratch: Path) -> None:
    with _start(scratch) as demo:
        poll(lambda: bool(_descendants(demo.pid)), "the demo to start its worker", timeout_s=30)
        children = _descendants(demo.pid)
        demo.kill()
        demo.communicate(timeout=30)
    _assert_nothing_left(scratch, children)


def test_a_demo_that_fails_says_why(scratch: Path) -> None:
    with _start(scratch) as demo:
        poll(lambda: bool(_descendants(demo.pid)), "the demo to start its worker", timeout_s=30)
        for child in _descendants(demo.pid):
            child.kill()
        out, err = demo.communicate(timeout=30)
    assert demo.returncode == 1, out
    assert "the demo failed: its worker ended with status -9" in err
    assert "[demo_failed]" in err
    assert list(scratch.iterdir()) == []
