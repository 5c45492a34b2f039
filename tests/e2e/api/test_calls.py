"""From an event to a run's end, with a raw worker. Numbers: Connect's behaviours."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from stepwell.wire.connect import (
    FlushResponse,
    Kind,
    SDKResponse,
    WorkerRequestExtendLeaseAckData,
)
from stepwell.wire.ids import parse_ulid, ulid_ms
from tests.e2e.api.served import Served, Worker, serve
from tests.unit.server.gateway.messages import PAUSE, ack, app, extend, function, reply
from tests.unit.server.loop import on_loop

STEP_ID = "a" * 40


def step_op(**fields: object) -> bytes:
    op = {"op": "StepRun", "id": STEP_ID, "displayName": "charge", "data": {"n": 1}} | fields
    return msgspec.json.encode([op])


@on_loop
async def test_a_call_carries_what_the_sdk_needs() -> None:  # 15
    async with serve() as served, served.worker(max_worker_concurrency=3) as worker:
        event_id = await served.send_event(id="order-7")
        call = await worker.call()
        fields = call.fields
        assert (fields.app_name, fields.function_slug, fields.step_id) == (
            "shop", "shop-ship", "step",
        )  # fmt: skip
        assert call.body["event"]["id"] == "order-7"
        assert call.body["event"]["data"] == {"order": 7}
        assert (call.body["steps"], call.body["version"]) == ({}, -1)
        assert call.ctx["run_id"] == fields.run_id
        assert call.ctx["request_id"] == fields.request_id
        assert (call.ctx["attempt"], call.ctx["max_attempts"]) == (0, 5)
        ahead_ms = ulid_ms(parse_ulid(fields.lease_id)) - ulid_ms(parse_ulid(fields.request_id))
        assert 115_000 < ahead_ms <= 125_000
        await worker.finish(call)
        run = await served.ended(event_id)
        assert (run["status"], run["output"]) == ("Completed", "done")


@on_loop
async def test_a_step_is_recorded_and_the_next_call_has_it() -> None:  # 17
    async with serve() as served, served.worker() as worker:
        event_id = await served.send_event()
        first = await worker.call()
        await worker.send(ack(first.id), reply(first.id, body=step_op(), request_version=2))
        await worker.receive(Kind.WORKER_REPLY_ACK)
        second = await worker.call()
        assert second.id != first.id
        assert second.body["steps"] == {STEP_ID: {"data": {"n": 1}}}
        assert second.body["version"] == 2
        assert second.ctx["stack"] == {"stack": [STEP_ID], "current": 1}
        await worker.finish(second)
        run = await served.ended(event_id)
        trace = await served.get(f"/v2/runs/{run['run_id']}/trace")
        names = [span["name"] for span in trace["data"]["rootSpan"]["children"]]
        assert names == ["charge", "Finalization"]


@on_loop
async def test_a_failed_call_is_tried_again_and_a_final_one_is_not() -> None:  # 18
    error = b'{"name":"E","message":"m"}'
    async with serve(retry_interval_ms=1) as served, served.worker() as worker:
        event_id = await served.send_event()
        first = await worker.call()
        await worker.send(ack(first.id), reply(first.id, status=2, body=error))
        await worker.receive(Kind.WORKER_REPLY_ACK)
        second = await worker.call()
        assert (second.ctx["attempt"], second.fields.job_id) == (1, first.fields.job_id)
        await worker.send(reply(second.id, status=1, body=error, no_retry=True))
        run = await served.ended(event_id)
        assert (run["status"], run["output"]) == ("Failed", {"name": "E", "message": "m"})


@on_loop
async def test_of_two_replies_the_first_counts() -> None:  # 19
    async with serve() as served, served.worker() as worker:
        event_id = await served.send_event()
        call = await worker.call()
        await worker.send(ack(call.id), reply(call.id, status=1, body=b"1"))
        await worker.send(reply(call.id, status=1, body=b"2"))
        for _ in range(2):
            await worker.receive(Kind.WORKER_REPLY_ACK)
        assert (await served.ended(event_id))["output"] == 1
        assert await worker.is_idle()


@on_loop
async def test_a_reply_without_an_ack_counts_at_once() -> None:  # 20
    async with serve() as served, served.worker() as worker:
        event_id = await served.send_event()
        call = await worker.call()
        await worker.send(reply(call.id, status=1, body=b"1"), ack(call.id))
        await worker.receive(Kind.WORKER_REPLY_ACK)
        assert (await served.ended(event_id))["output"] == 1


@on_loop
async def test_a_reply_may_come_on_another_connection() -> None:  # 21
    async with serve() as served, served.worker(max_worker_concurrency=1) as one:
        event_id = await served.send_event()
        call = await one.call()
        await one.send(ack(call.id))
        async with served.worker(instance_id="other") as two:
            await two.send(reply(call.id, status=1, body=b"1"))
            await two.receive(Kind.WORKER_REPLY_ACK)
        assert (await served.ended(event_id))["output"] == 1


@pytest.mark.parametrize("acked", [True, False])
def test_a_flush_finishes_a_run_with_no_socket_open(acked: bool) -> None:  # 22, 23
    @on_loop
    async def check() -> None:
        async with serve() as served:
            async with served.worker() as worker:
                event_id = await served.send_event()
                call = await worker.call()
                if acked:
                    await worker.send(ack(call.id))
                    assert await worker.is_idle()
                flushed = SDKResponse(request_id=call.id, status=1, body=b"1")  # type: ignore[arg-type]
                if not acked:
                    status, _ = await flush(served, flushed)
                    assert status == 200
            if acked:
                for _ in range(2):
                    status, answer = await flush(served, flushed)
                    assert status == 200
                    assert FlushResponse.FromString(answer).request_id == call.id
            assert (await served.ended(event_id))["output"] == 1

    check()


async def flush(served: Served, response: SDKResponse) -> tuple[int, bytes]:
    return await served.request("POST", "/v0/connect/flush", response.SerializeToString())


@pytest.mark.parametrize("way", ["closes", "is cut off", "pauses"])
def test_a_call_that_was_not_acknowledged_goes_to_another_worker(way: str) -> None:  # 24, 34
    @on_loop
    async def check() -> None:
        async with serve() as served, served.worker(max_worker_concurrency=1) as first:
            event_id = await served.send_event()
            await first.call()
            async with served.worker(instance_id="other") as second:
                await leave(first, way)
                again = await second.call()
                assert again.ctx["attempt"] == 0
                await second.finish(again)
            assert (await served.ended(event_id))["status"] == "Completed"

    check()


async def leave(worker: Worker, way: str) -> None:
    match way:
        case "closes":
            await worker.socket.close()
        case "is cut off":
            worker.socket.transport.abort()
        case _:
            await worker.send(PAUSE)


@on_loop
async def test_an_acknowledged_call_is_kept_for_the_reconnect_grace() -> None:  # 31, 37
    async with serve(connect_reconnect_grace_ms=60_000) as served:
        async with served.worker() as worker:
            event_id = await served.send_event()
            call = await worker.call()
            await worker.send(ack(call.id))
            assert await worker.is_idle()
            worker.socket.transport.abort()
        async with served.worker() as again:
            await again.send(extend(call.fields.lease_id, call.id))
            told = WorkerRequestExtendLeaseAckData.FromString(
                await again.receive(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
            )
            assert told.HasField("new_lease_id")
            await again.send(reply(call.id, status=1, body=b"1"))
            await again.receive(Kind.WORKER_REPLY_ACK)
            assert (await served.ended(event_id))["output"] == 1
            assert await again.is_idle()


@on_loop
async def test_after_the_grace_the_call_goes_to_another_worker() -> None:  # README 2
    async with serve(connect_reconnect_grace_ms=50) as served:
        async with served.worker() as worker:
            event_id = await served.send_event()
            first = await worker.call()
            await worker.send(ack(first.id))
            assert await worker.is_idle()
            worker.socket.transport.abort()
        async with served.worker(instance_id="other") as other:
            again = await other.call()
            assert (again.ctx["attempt"], again.fields.job_id) == (0, first.fields.job_id)
            assert again.id != first.id
            await other.send(reply(first.id, status=1, body=b'"late"'))
            await other.receive(Kind.WORKER_REPLY_ACK)
            await other.finish(again, b'"right"')
            assert (await served.ended(event_id))["output"] == "right"


@on_loop
async def test_the_slot_of_a_worker_that_died_is_free_when_its_call_is_lost() -> None:  # 47
    async with serve(connect_reconnect_grace_ms=50) as served:
        async with served.worker(instance_id="small", max_worker_concurrency=1) as worker:
            first = await served.send_event()
            held = await worker.call()
            await worker.send(ack(held.id))
            second = await served.send_event()
            assert await worker.is_idle()
            worker.socket.transport.abort()
        async with served.worker(instance_id="small", max_worker_concurrency=1) as worker:
            for event_id in (first, second):
                call = await worker.call()
                assert call.id != held.id
                assert await worker.is_idle(), "one at a time"
                await worker.finish(call)
                assert (await served.ended(event_id))["status"] == "Completed"


@on_loop
async def test_a_worker_that_takes_a_call_and_is_silent_loses_it_with_its_lease() -> None:  # 25
    async with serve(connect_lease_ms=100) as served, served.worker() as worker:
        event_id = await served.send_event()
        first = await worker.call()
        await worker.send(ack(first.id))
        again = await worker.call()
        assert again.id != first.id
        await worker.send(extend(first.fields.lease_id, first.id))
        told = WorkerRequestExtendLeaseAckData.FromString(
            await worker.receive(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
        )
        assert not told.HasField("new_lease_id")
        await worker.finish(again)
        assert (await served.ended(event_id))["status"] == "Completed"


@on_loop
async def test_a_call_whose_lease_is_extended_is_sent_once() -> None:  # 25, 26, 27, 28
    async with serve(connect_lease_ms=1_000) as served, served.worker() as worker:
        event_id = await served.send_event()
        call = await worker.call()
        lease_id = call.fields.lease_id
        await worker.send(ack(call.id))
        for _ in range(5):
            await asyncio.sleep(0.3)
            await worker.send(extend(lease_id, call.id))
            told = WorkerRequestExtendLeaseAckData.FromString(
                await worker.receive(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
            )
            assert told.new_lease_id != lease_id
            before, lease_id = lease_id, told.new_lease_id
        await worker.send(extend(before, call.id))  # its acknowledgement was lost
        told = WorkerRequestExtendLeaseAckData.FromString(
            await worker.receive(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
        )
        assert told.new_lease_id == lease_id
        await worker.finish(call)
        assert (await served.ended(event_id))["status"] == "Completed"


@on_loop
async def test_a_worker_gets_only_calls_of_its_functions() -> None:  # 41
    billing = app("billing", functions=[function("billing-close")])
    async with (
        serve() as served,
        served.worker(billing, instance_id="b") as other,
        served.worker() as worker,
    ):
        await served.send_event()
        calls = {(await worker.call()).fields.function_slug}
        calls.add((await other.call()).fields.function_slug)
        assert calls == {"shop-ship", "billing-close"}


@on_loop
async def test_the_limit_of_an_instance_holds_over_its_sockets() -> None:  # 43, 44
    async with (
        serve() as served,
        served.worker(max_worker_concurrency=2) as one,
        served.worker(max_worker_concurrency=2) as two,
    ):
        events = [await served.send_event() for _ in range(5)]
        taken: list[str] = []

        async def work(worker: Worker) -> None:
            while True:
                call = await worker.call()
                taken.append(call.id)
                assert len(taken) <= 2
                await worker.send(ack(call.id))
                await asyncio.sleep(0.01)
                taken.remove(call.id)
                await worker.send(reply(call.id, status=1, body=b"1"))
                await worker.receive(Kind.WORKER_REPLY_ACK)

        working = [asyncio.create_task(work(worker)) for worker in (one, two)]
        runs = [await served.ended(event_id) for event_id in events]
        for task in working:
            task.cancel()
        ends = await asyncio.gather(*working, return_exceptions=True)
        assert [type(end) for end in ends] == [asyncio.CancelledError] * 2
        assert {run["status"] for run in runs} == {"Completed"}


@on_loop
async def test_a_run_waits_for_a_worker_and_starts_when_one_comes() -> None:  # 46
    async with serve() as served:
        async with served.worker():
            pass
        event_id = await served.send_event()
        (run,) = await served.runs_of(event_id)
        assert run["status"] == "Scheduled"
        async with served.worker() as worker:
            await worker.finish(await worker.call())
        assert (await served.ended(event_id))["status"] == "Completed"


@on_loop
async def test_a_call_that_is_too_large_is_fetched() -> None:  # server 19, use_api
    async with serve() as served, served.worker() as worker:
        event_id = await served.send_event()
        big = {"text": "x" * (3 * 2**20)}
        ids = [f"{number}" * 40 for number in range(2)]
        for step_id in ids:
            call = await worker.call()
            assert not call.body["use_api"]
            op = step_op(id=step_id, data=big)
            await worker.send(ack(call.id), reply(call.id, body=op, request_version=2))
            await worker.receive(Kind.WORKER_REPLY_ACK)
        call = await worker.call()
        assert call.body["use_api"]
        assert call.ctx["use_api"]
        assert call.body["steps"] == {}
        run_id = call.fields.run_id
        assert await served.get(f"/v0/runs/{run_id}/actions") == {
            step_id: {"data": big} for step_id in ids
        }
        (event,) = await served.get(f"/v0/runs/{run_id}/batch")
        assert event == call.body["event"]
        await worker.finish(call)
        assert (await served.ended(event_id))["status"] == "Completed"
        assert (await served.request("GET", f"/v0/runs/{run_id}/actions"))[0] == 410
