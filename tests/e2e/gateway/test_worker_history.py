"""What is known of workers, over real sockets and a real database: limits, load, history."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import apsw
import msgspec
import pytest

from stepwell.store.sqlite.store import DATABASE_FILE
from stepwell.wire.connect import Kind
from tests.e2e.api.served import Served, serve
from tests.e2e.gateway.raw_worker import open_bench
from tests.server_process import ServerProcess
from tests.unit.server.gateway.messages import HEARTBEAT, ack, app, function
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 8.0


async def workers(served: Served, query: str = "all=true") -> list[dict[str, Any]]:
    return (await served.get(f"/v2/workers?{query}")).get("data", [])  # type: ignore[no-any-return]


async def until_one(served: Served, **fields: Any) -> dict[str, Any]:
    """The only worker, once it has these fields."""
    async with asyncio.timeout(WAIT_S):
        while True:
            (worker,) = await workers(served)
            if all(worker.get(name) == value for name, value in fields.items()):
                return worker
            await asyncio.sleep(0.005)


# --- limits ---


@on_loop
async def test_a_start_beyond_the_limit_is_refused_until_a_worker_leaves() -> None:  # Connect 3
    async with serve(connections_max=1) as served:
        async with served.worker():
            status, body = await served.request("POST", "/v0/connect/start", b"")
            assert status == 429
            error = msgspec.json.decode(body)
            assert (error["status"], error["code"]) == (429, "connections_taken")
            assert "--connections-max (STEPWELL_CONNECTIONS_MAX)" in error["error"]
        await until_one(served, status="DISCONNECTED")
        async with served.worker():
            await until_one_ready(served)


async def until_one_ready(served: Served) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(await workers(served, "status=READY")) != 1:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.005)


@on_loop
async def test_the_limit_holds_for_sockets_that_were_open_before_it_was_reached() -> None:
    async with open_bench(connections_max=1) as bench, bench.socket() as second:
        await second.receive_kind(Kind.GATEWAY_HELLO)
        async with bench.worker():
            await second.send(second.hello())
            assert await second.closed() == (1008, "connect_internal_error")
            assert bench.book.live_count == 1


@on_loop
async def test_sockets_that_have_not_said_who_they_are_take_no_workers_place() -> None:
    async with (
        open_bench(connections_max=1) as bench,
        bench.socket(),
        bench.socket(),
        bench.worker(),
    ):
        assert bench.book.live_count == 1


@pytest.mark.parametrize(("most", "apps"), [(10, 11), (2, 3)])
@on_loop
async def test_one_app_more_than_the_setting_allows_is_refused(most: int, apps: int) -> None:
    announced = [app(f"app-{number}", functions=[function(f"app-{number}-fn")])
                 for number in range(apps)]  # fmt: skip
    async with open_bench(connect_apps_max=most) as bench:
        async with bench.worker(*announced[:-1]):
            assert bench.book.live_count == 1
        async with bench.socket() as worker:
            await worker.receive_kind(Kind.GATEWAY_HELLO)
            await worker.send(worker.hello(*announced))
            assert await worker.closed() == (1008, "connect_too_many_apps_per_connection")


@on_loop
async def test_more_apps_than_the_protocol_has_by_default_are_taken_with_the_setting() -> None:
    announced = [app(f"app-{number}", functions=[function(f"app-{number}-fn")])
                 for number in range(40)]  # fmt: skip
    async with open_bench(connect_apps_max=40) as bench, bench.worker(*announced):
        (info,) = bench.book.list()
        assert len(info.apps) == 40


@on_loop
async def test_a_call_that_lasts_longer_than_the_setting_allows_is_tried_again() -> None:
    async with (
        serve(connect_call_timeout_ms=300, connect_lease_ms=400, retry_interval_ms=10) as served,
        served.worker() as worker,
    ):
        await served.send_event()
        first = await worker.call()
        await worker.send(ack(first.id))
        again = await worker.call()
        assert (first.ctx["attempt"], again.ctx["attempt"]) == (0, 1)
        await worker.finish(again)


# --- load and history ---


@on_loop
async def test_load_and_calls_done_are_told_while_the_worker_lives_and_kept_when_it_left() -> None:
    async with serve() as served:
        async with served.worker(max_worker_concurrency=5) as worker:
            for _ in range(2):
                await served.send_event()
            calls = [await worker.call(), await worker.call()]
            busy = await until_one(served, status="READY")
            assert busy["load"] == {"calls": 2, "instanceCalls": 2, "limit": 5}
            for call in calls:
                await worker.finish(call)
            idle = await until_one(served, callsDone=2)
            assert idle["load"]["calls"] == 0
            await worker.send(HEARTBEAT)
            await worker.receive(Kind.GATEWAY_HEARTBEAT)
            heard = await until_one(served, status="READY")
            assert heard["lastHeartbeatAt"] >= idle["lastHeartbeatAt"]
            await worker.socket.close(1000, "WORKER_SHUTDOWN")
        left = await until_one(served, status="DISCONNECTED")
        assert (left["disconnectReason"], left["callsDone"]) == ("WORKER_SHUTDOWN", 2)
        assert "load" not in left
        assert await workers(served, "") == []


@on_loop
async def test_the_history_outlives_an_orderly_restart(tmp_path: Path) -> None:
    on_disk: dict[str, Any] = {"in_memory": False, "data_dir": tmp_path / "data"}
    async with serve(**on_disk) as served, served.worker(app(version="v7")):
        before = await until_one(served, status="READY")
        await served.server.__aexit__(None, None, None)
    async with serve(**on_disk) as served:
        (after,) = await workers(served)
        assert await workers(served, "") == []
        assert (after["id"], after["status"]) == (before["id"], "DISCONNECTED")
        assert after["apps"] == before["apps"]
        assert after["disconnectReason"] == "GATEWAY_DRAINING"
        same = {"instanceId", "connectedAt", "sdkLanguage", "sdkVersion", "ip"}
        assert {name: after[name] for name in same} == {name: before[name] for name in same}


@pytest.mark.timeout(60)
def test_workers_of_a_server_that_was_killed_have_ended_when_it_comes_back(
    tmp_path: Path,
) -> None:
    with ServerProcess(data_dir=tmp_path / "data") as server:
        connected_until_killed(server)
        server.start()
        status, body = server.get("/v2/workers?all=true")
        assert status == 200
        (worker,) = msgspec.json.decode(body)["data"]
        assert (worker["status"], worker["disconnectReason"]) == ("DISCONNECTED", "SERVER_STOPPED")
        assert worker["disconnectedAt"] >= worker["connectedAt"]
        assert worker["instanceId"] == "box-7"
        assert b'"data"' not in server.get("/v2/workers")[1]


@on_loop
async def connected_until_killed(server: ServerProcess) -> None:
    """A worker connects, and the server is killed once that is on disk."""
    database = server.cwd / "data"
    async with (
        aiohttp.ClientSession() as session,
        Served(server, session).worker(),  # type: ignore[arg-type]  # of it only the URL is used
    ):
        async with asyncio.timeout(WAIT_S):
            while not is_stored(database):  # noqa: ASYNC110 - it is another process's
                await asyncio.sleep(0.02)
        server.kill()


def is_stored(directory: Path) -> bool:
    """Whether a worker is in the database, as another process sees it."""
    connection = apsw.Connection(str(directory / DATABASE_FILE), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        ((count,),) = connection.execute("SELECT count(*) FROM worker").fetchall()
        return bool(count)
    finally:
        connection.close()
