"""The faulty disk under SQLite, and under a server that is told to use it."""

from __future__ import annotations

import http.client
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import apsw
import pytest

from tests.faulty_disk.disk import Disk
from tests.faulty_disk.orders import FaultyDisk, Orders, Refusal
from tests.server_process import ServerProcess, poll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWER_WAIT_S = 10.0


class Sleeper:
    """Notes for how long it was to sleep; holds sleepers up until `wake` where `holds` is set."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []
        self.now_s = 100.0
        self.holds = False
        self.wake = threading.Event()

    def __call__(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        if self.holds:
            assert self.wake.wait(ANSWER_WAIT_S)


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()


@pytest.fixture
def disk(sleeper: Sleeper) -> Iterator[Disk]:
    disk = Disk(clock=lambda: sleeper.now_s, sleep=sleeper)
    yield disk
    disk.remove()


@pytest.fixture
def database(tmp_path: Path, disk: Disk) -> Iterator[apsw.Connection]:
    """A database as the store opens it, with an empty table `t`."""
    connection = apsw.Connection(str(tmp_path / "test.db"))
    connection.pragma("journal_mode", "WAL")
    connection.pragma("synchronous", "FULL")
    connection.execute("CREATE TABLE t (n INTEGER)")
    yield connection
    disk.obey(Orders())
    connection.close()


def insert(database: apsw.Connection) -> None:
    database.execute("INSERT INTO t VALUES (1)")


def send(server: ServerProcess) -> int:
    """The status of the answer to an event."""
    connection = http.client.HTTPConnection(urlsplit(server.api_url).netloc, timeout=ANSWER_WAIT_S)
    try:
        connection.request("POST", "/e/key", b'{"name":"a/b","data":{}}')
        return connection.getresponse().status
    finally:
        connection.close()


def rows(database: apsw.Connection) -> int:
    count: int = database.execute("SELECT count(*) FROM t").get
    return count


def test_each_commit_stalls_when_each_sync_is_to(
    disk: Disk, sleeper: Sleeper, database: apsw.Connection
) -> None:
    insert(database)
    assert sleeper.slept_s == []
    disk.obey(Orders(stall_ms=50))
    insert(database)
    insert(database)
    assert sleeper.slept_s == [0.05, 0.05]
    disk.obey(Orders())
    insert(database)
    assert disk.report().stalls == 2
    assert rows(database) == 4


def test_one_sync_in_each_period_stalls(
    disk: Disk, sleeper: Sleeper, database: apsw.Connection
) -> None:
    disk.obey(Orders(stall_ms=50, every_ms=1000))
    stalls = []
    for _ in range(5):
        insert(database)
        stalls.append(disk.report().stalls)
        sleeper.now_s += 0.4
    assert stalls == [1, 1, 1, 2, 2]


def test_one_stall_on_command(disk: Disk, sleeper: Sleeper, database: apsw.Connection) -> None:
    disk.obey(Orders(stall_ms=5000, stalls_max=1))
    for _ in range(3):
        insert(database)
    assert sleeper.slept_s == [5.0]


def test_who_stalls_holds_up_nobody_else(
    disk: Disk, sleeper: Sleeper, database: apsw.Connection, tmp_path: Path
) -> None:
    sleeper.holds = True
    disk.obey(Orders(stall_ms=5000, stalls_max=1))
    writer = threading.Thread(target=insert, args=(database,))
    writer.start()
    poll(lambda: disk.report().is_stalling, "the stall to begin", timeout_s=ANSWER_WAIT_S)
    reader = apsw.Connection(str(tmp_path / "test.db"))
    assert rows(reader) == 0
    assert writer.is_alive()
    sleeper.wake.set()
    writer.join()
    assert rows(reader) == 1
    assert not disk.report().is_stalling
    reader.close()


@pytest.mark.parametrize(
    ("refuses", "error", "code"),
    [
        ("full", apsw.FullError, apsw.SQLITE_FULL),
        ("readonly", apsw.ReadOnlyError, apsw.SQLITE_READONLY),
        ("fsync", apsw.IOError, apsw.SQLITE_IOERR_FSYNC),
    ],
)
def test_commits_are_refused_until_it_is_mended(
    disk: Disk, database: apsw.Connection, refuses: Refusal, error: type[apsw.Error], code: int
) -> None:
    disk.obey(Orders(refuses=refuses))
    for refusals in (1, 2):
        with pytest.raises(error) as caught:
            insert(database)
        assert getattr(caught.value, "extendedresult", None) == code
        assert disk.report().refusals == refusals
        assert rows(database) == 0
    disk.obey(Orders())
    insert(database)
    assert rows(database) == 1


def test_what_stalls_and_refuses_writes_counts_no_refused_sync(
    disk: Disk, sleeper: Sleeper, database: apsw.Connection
) -> None:
    insert(database)
    disk.obey(Orders(stall_ms=1, refuses="full"))
    with pytest.raises(apsw.FullError):
        insert(database)
    assert sleeper.slept_s == []  # it came to no sync
    disk.obey(Orders(stall_ms=1, refuses="fsync"))
    with pytest.raises(apsw.IOError):
        insert(database)
    assert sleeper.slept_s == [0.001]
    assert disk.report().refusals == 2


def test_removed_it_touches_no_file_that_is_opened_later(tmp_path: Path) -> None:
    disk = Disk()
    disk.remove()
    disk.obey(Orders(refuses="full"))
    connection = apsw.Connection(str(tmp_path / "test.db"))
    connection.execute("CREATE TABLE t (n INTEGER)")
    insert(connection)
    connection.close()
    assert disk.report().refusals == 0


def test_server_obeys_orders_while_it_runs_and_those_for_its_start(tmp_path: Path) -> None:
    disk = FaultyDisk(tmp_path, Orders(stall_ms=1))
    server = ServerProcess(
        data_dir=tmp_path / "data", environ=disk.environ, module="tests.faulty_disk"
    )
    with server:
        at_start = disk.report()
        assert at_start.stalls > 0
        assert at_start.refusals == 0
        disk.order(Orders(refuses="full"))
        assert send(server) == 503
        assert disk.report().refusals > 0
        disk.mend()
        poll(
            lambda: send(server) == 200,
            "events to be taken again",
            timeout_s=ANSWER_WAIT_S,
        )
        begun_s = time.monotonic()
        disk.order(Orders(stall_ms=300, stalls_max=1))
        assert send(server) == 200
        assert time.monotonic() - begun_s >= 0.3
        server.kill()
        server.start()
        assert disk.report().refusals == 0
        assert server.terminate() == 0
    with pytest.raises(OSError, match="No such file"):
        disk.report()
