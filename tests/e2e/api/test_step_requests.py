"""Requests that the server makes for steps: functions share what can be made at a time, and no
key is told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.wire.connect import Kind
from tests.e2e.api.served import serve
from tests.e2e.http_dispatch.raw_app import Link, RawApp, Request, response
from tests.unit.engine.scenario import op
from tests.unit.server.gateway.messages import ack, app, function, reply
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.api.served import Call, Served, Worker

WAIT_S = 15.0
SLOW, QUICK = "shop-ship", "shop-bill"
KEY = "k-nobody-shall-read"


class Gate:
    """An address that lets requests for `/slow` wait until it is opened."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.waiting = 0
        self.most = 0
        self.served = 0

    async def __call__(self, request: Request, link: Link) -> None:
        if request.target.startswith("/slow"):
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            await self.opened.wait()
            self.waiting -= 1
        self.served += 1
        await link.write(response(200, b'"answer"', sdk=None))


def fetches(raw: RawApp, path: str, count: int) -> bytes:
    url = f"http://127.0.0.1:{raw.port}{path}"
    return msgspec.json.encode(
        [op("Gateway", f"get {n}", opts={"url": url, "method": "GET"}) for n in range(count)]
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110  # what happens in another program has no event
            await asyncio.sleep(0.01)


async def ask(worker: Worker, call: Call, body: bytes) -> None:
    """Report what the function wants the server to request."""
    await worker.send(ack(call.id), reply(call.id, body=body, request_version=2))
    await worker.receive(Kind.WORKER_REPLY_ACK)


def both() -> Any:
    slow = function(SLOW, triggers=[{"event": "shop/slow"}])
    quick = function(QUICK, triggers=[{"event": "shop/quick"}])
    return app("shop", functions=[slow, quick])


async def waiting_of(served: Served, run_id: str) -> dict[str, Any] | None:
    run: dict[str, Any] = (await served.get(f"/v2/runs/{run_id}"))["data"]
    return run.get("waiting")


@on_loop
async def test_slow_requests_of_one_function_do_not_stop_those_of_another() -> None:
    gate = Gate()
    async with (
        RawApp(gate) as raw,
        serve(step_requests_max=20) as served,
        served.worker(both()) as worker,
    ):
        slow = await served.send_event("shop/slow")
        await ask(worker, await worker.call(), fetches(raw, "/slow", 200))
        later = await served.send_event("shop/slow")
        await ask(worker, await worker.call(), fetches(raw, "/slow", 1))
        await until(lambda: gate.waiting == 10)

        (run,) = await served.runs_of(later)
        waiting = await waiting_of(served, run["run_id"])
        assert waiting is not None
        assert waiting["reason"] == "request_queued"

        quick = await served.send_event("shop/quick")
        await ask(worker, await worker.call(), fetches(raw, "/quick", 1))
        await worker.finish(await worker.call())
        assert (await served.ended(quick))["status"] == "Completed"
        assert gate.most == 10

        gate.opened.set()
        for call in [await worker.call() for _ in (slow, later)]:
            await worker.finish(call)
        for event_id in (slow, later):
            assert (await served.ended(event_id))["status"] == "Completed"
        assert gate.served == 202


@on_loop
async def test_what_waits_for_its_turn_goes_on_after_a_restart(tmp_path: Path) -> None:
    gate = Gate()
    settings = {"in_memory": False, "data_dir": tmp_path, "step_requests_max": 2}
    async with RawApp(gate) as raw:
        async with serve(**settings) as served, served.worker(both()) as worker:
            events = []
            for _ in range(3):
                events.append(await served.send_event("shop/slow"))
                await ask(worker, await worker.call(), fetches(raw, "/slow", 1))
            await until(lambda: gate.waiting == 1)
        gate.opened.set()
        async with serve(**settings) as served, served.worker(both()) as worker:
            for call in [await worker.call() for _ in events]:
                await worker.finish(call)
            for event_id in events:
                assert (await served.ended(event_id))["status"] == "Completed"


@pytest.mark.parametrize("over", [False, True], ids=["while it is made", "when it is over"])
@on_loop
async def test_nothing_that_is_read_out_tells_a_key(tmp_path: Path, over: bool) -> None:
    gate, came = Gate(), []

    async def record(request: Request, link: Link) -> None:
        came.append(request)
        await gate(request, link)

    settings = {"in_memory": False, "data_dir": tmp_path, "step_requests_max": 2}
    async with (
        RawApp(record) as raw,
        serve(**settings) as served,
        served.worker(both()) as worker,
    ):
        event_id = await served.send_event("shop/slow")
        options = {
            "url": f"http://127.0.0.1:{raw.port}/slow",
            "auth_key": KEY,
            "headers": {"X-Session-Token": KEY, "X-Other": "told"},
            "format": "openai-chat",
            "body": {"model": "m"},
        }
        body = msgspec.json.encode([op("AIGateway", "ask", opts=options)])
        await ask(worker, await worker.call(), body)
        await until(lambda: gate.waiting == 1)
        (request,) = came
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["x-session-token"] == KEY
        if over:
            gate.opened.set()
            await worker.finish(await worker.call())
            await served.ended(event_id)
        (run,) = await served.runs_of(event_id)
        for path in (
            f"/v1/runs/{run['run_id']}",
            f"/v1/events/{event_id}/runs",
            f"/v2/runs/{run['run_id']}",
            f"/v2/runs/{run['run_id']}/trace?includeOutput=true",
            f"/runs/{run['run_id']}",
        ):
            status, answer = await served.request("GET", path)
            assert status in (200, 404), path
            assert KEY.encode() not in answer, path
        runtime = served.server._gateway.runtime  # type: ignore[union-attr]
        with contextlib.closing(runtime.reader()) as reader:
            (listed,) = reader.runs(limit=9)
            (row,) = reader.history(listed.run_id)
            assert KEY.encode() not in (row.payload or b"")
            assert b"told" in (row.payload or b"")
            kept = reader.request_secrets(listed.run_id, row.seq)
            assert (kept is None) == over
        gate.opened.set()
