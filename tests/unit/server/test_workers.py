"""The book of workers."""

from __future__ import annotations

import msgspec
import pytest

from stepwell.server.workers import (
    DISCONNECTED_KEPT_MAX,
    WorkerApp,
    WorkerBook,
    WorkerInfo,
    WorkerStatus,
)


def worker(connection_id: str = "one") -> WorkerInfo:
    return WorkerInfo(
        connection_id=connection_id,
        instance_id="box-7",
        apps=(WorkerApp(name="shop", version=None, function_count=0),),
        status=WorkerStatus.CONNECTED,
        connected_at_ms=1,
        last_heartbeat_ms=1,
        sdk_language="py",
        sdk_version="0.5.19",
        platform="",
        ip="127.0.0.1",
        os="linux",
        cpu_cores=8,
        mem_bytes=1,
        max_worker_concurrency=None,
    )


def book(*connection_ids: str) -> WorkerBook:
    made = WorkerBook()
    for connection_id in connection_ids:
        made.connected(worker(connection_id))
    return made


def ids(made: WorkerBook) -> list[str]:
    return [info.connection_id for info in made.list()]


def test_live_workers_come_first_in_their_order_then_the_last_that_ended() -> None:
    made = book("a", "b", "c", "d")
    made.disconnected("b", 5)
    made.disconnected("a", 6)
    assert ids(made) == ["c", "d", "a", "b"]
    assert made.live_count == 2


def test_a_sync_fills_in_the_apps() -> None:
    made = book("one")
    apps = (WorkerApp(name="shop", version="v1", function_count=2, app_id="a", sync_id="s"),)
    made.synced("one", apps)
    (info,) = made.list()
    assert info.apps == apps
    assert info.app_names == ("shop",)


@pytest.mark.parametrize("later", list(WorkerStatus)[1:4])
def test_a_status_never_goes_back(later: WorkerStatus) -> None:
    made = book("one")
    made.status("one", later)
    made.status("one", WorkerStatus.CONNECTED)
    made.status("one", WorkerStatus.READY)
    (info,) = made.list()
    assert info.status is later


def test_a_heartbeat_moves_the_time_and_nothing_else() -> None:
    made = book("one")
    made.status("one", WorkerStatus.DRAINING)
    before = made.list()[0]
    made.heartbeat("one", 99)
    assert made.list() == [msgspec.structs.replace(before, last_heartbeat_ms=99)]


def test_the_reason_is_kept_when_the_socket_is_gone() -> None:
    made = book("one")
    made.leaving("one", "WORKER_SHUTDOWN")
    leaving = made.get("one")
    assert leaving is not None
    assert (leaving.status, leaving.is_live) == (WorkerStatus.DISCONNECTING, True)
    made.disconnected("one", 7)
    ended = made.get("one")
    assert ended is not None
    assert (ended.status, ended.is_live) == (WorkerStatus.DISCONNECTED, False)
    assert (ended.disconnect_reason, ended.disconnected_at_ms) == ("WORKER_SHUTDOWN", 7)


def test_a_connection_that_is_not_in_the_book_changes_nothing() -> None:
    made = book("one")
    made.disconnected("one", 7)
    before = made.list()
    for connection_id in ("one", "two", ""):
        made.status(connection_id, WorkerStatus.READY)
        made.heartbeat(connection_id, 9)
        made.leaving(connection_id, "x")
        made.synced(connection_id, ())
        made.disconnected(connection_id, 9)
    assert made.list() == before
    assert made.get("two") is None


def test_only_the_last_that_ended_are_kept() -> None:
    made = WorkerBook()
    for number in range(DISCONNECTED_KEPT_MAX + 10):
        made.connected(worker(str(number)))
        made.disconnected(str(number), number)
    assert len(made.list()) == DISCONNECTED_KEPT_MAX
    assert made.get("9") is None
    assert made.get("10") is not None


def test_a_connection_id_that_comes_again_is_one_entry() -> None:
    made = book("one")
    made.disconnected("one", 7)
    made.connected(worker("one"))
    (info,) = made.list()
    assert info.is_live
