"""A worker's life on the wire: calls, leases, lost sockets, leaving gateways, the end."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

import stepwell
from stepwell.connect import ConnectionState, WorkerConnection, calls, connect, link
from stepwell.wire.connect import Kind, Status
from stepwell.wire.ids import hash_step_id
from tests.unit.connect.gateway import GROUP, Gateway
from tests.unit.connect.loop import on_loop
from tests.unit.connect.story import Held, HeldSync, declared, story, total

if TYPE_CHECKING:
    from stepwell import Context

pytestmark = pytest.mark.usefixtures("quick", "kind")

ACTIVE = ConnectionState.ACTIVE
RECONNECTING = ConnectionState.RECONNECTING
CLOSING = ConnectionState.CLOSING
CLOSED = ConnectionState.CLOSED


# --- calls ---


@on_loop
async def test_call_for_another_app_is_left_to_other_workers() -> None:
    async with story(declared(total)) as told:
        peer = await told.ready()

        await peer.call("other", app="unknown")
        await peer.call("mine")

        assert (await peer.expect_ack()).request_id == "mine"


@on_loop
async def test_call_for_an_unknown_function_is_answered_with_an_error() -> None:
    async with story(declared(total)) as told:
        peer = await told.ready()

        await peer.call(function="gone")

        await peer.expect_ack()
        reply = await peer.expect_reply()
        assert Status(reply.status) is Status.ERROR
        assert json.loads(reply.body)["code"] == "function_not_found"
        assert not reply.no_retry


@on_loop
async def test_running_call_that_comes_again_is_acknowledged_and_not_run_again() -> None:
    held = Held()
    async with story(declared(held)) as told:
        peer = await told.ready()
        await peer.call()
        await peer.expect_ack()
        await held.begun.wait()

        await peer.call()

        assert (await peer.expect_ack()).request_id == "req-1"
        held.release.set()
        assert (await peer.expect_reply()).body == b'"released"'
        assert held.runs == 1


@pytest.mark.parametrize("acknowledged", [False, True])
def test_done_call_that_comes_again_gets_the_same_reply(acknowledged: bool) -> None:
    @on_loop
    async def run() -> None:
        runs = []

        async def count(_ctx: Context) -> int:
            runs.append(1)
            return len(runs)

        async with story(declared(count)) as told:
            peer = await told.ready()
            await peer.call()
            await peer.expect_ack()
            first = await peer.expect_reply()
            if acknowledged:
                await peer.ack_reply("req-1")

            await peer.call()

            await peer.expect_ack()
            assert await peer.expect_reply() == first
            assert len(runs) == 1

    run()


@on_loop
async def test_large_state_is_fetched() -> None:
    async def steps(ctx: Context) -> str:
        return await ctx.step.run("one", lambda: "new")

    async with story(declared(steps)) as told:
        told.gateway.state = {"run-1/actions": {hash_step_id("one"): {"data": "old"}}}
        peer = await told.ready()

        await peer.call(use_api=True)

        await peer.expect_ack()
        assert (await peer.expect_reply()).body == b'"old"'


@on_loop
async def test_reply_without_an_acknowledgement_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "RESEND_MS", 20)
    async with story(declared(total)) as told:
        peer = await told.ready()
        await peer.call()
        await peer.expect_ack()

        first = await peer.expect_reply()

        assert await peer.expect_reply() == first
        assert await peer.expect_reply() == first


# --- leases and heartbeats ---


@on_loop
async def test_lease_of_a_running_call_is_extended() -> None:
    held = Held()
    async with story(declared(held)) as told:
        peer = await told.ready(extend="100ms")
        await peer.call(lease_id="lease-1")
        await peer.expect_ack()

        assert (await peer.expect_extension()).lease_id == "lease-1"
        await peer.answer_extension("req-1", "lease-2")
        while (extension := await peer.expect_extension()).lease_id == "lease-1":
            pass  # one may have been on its way
        assert extension.lease_id == "lease-2"


@on_loop
async def test_lost_lease_cancels_an_async_call() -> None:
    held = Held()
    async with story(declared(held)) as told:
        peer = await told.ready(extend="100ms")
        await peer.call()
        await peer.expect_ack()
        await peer.expect_extension()

        await peer.answer_extension("req-1", None)

        await held.cancelled.wait()
        await told.worker.close()
        await peer.expect_past_extensions(Kind.WORKER_PAUSE)  # and no reply
        assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
    assert told.gateway.flushed.empty()


@on_loop
async def test_lost_lease_lets_a_sync_call_finish_without_a_reply() -> None:
    held = HeldSync()
    async with story(declared(held), declared(total, "other")) as told:
        peer = await told.ready(extend="100ms")
        await peer.call()
        await peer.expect_ack()
        await peer.expect_extension()

        await peer.answer_extension("req-1", None)
        await peer.call("req-2", function="other")
        await peer.expect_past_extensions(Kind.WORKER_REQUEST_ACK)  # the answer was read before it
        assert (await peer.expect_reply()).request_id == "req-2"
        await peer.ack_reply("req-2")
        held.release.set()

        await asyncio.to_thread(held.ended.wait, 5)
        assert held.ended.is_set()
        await told.worker.close()
        await peer.expect_past_extensions(Kind.WORKER_PAUSE)
        assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
    assert told.gateway.flushed.empty()


@on_loop
async def test_program_that_blocks_its_loop_keeps_its_leases() -> None:
    """The worker's program runs on a loop of its own here; the test's loop plays the server."""
    blocked = HeldSync()
    connections: asyncio.Queue[WorkerConnection] = asyncio.Queue()
    test_loop = asyncio.get_running_loop()

    async def blocks(_ctx: Context) -> str:
        return blocked(None)  # type: ignore[arg-type]

    async def program(api_url: str) -> None:
        client = stepwell.Client(app_id="shop", api_base_url=api_url, is_production=False)
        worker = connect([(client, [declared(blocks)(client)])], shutdown_signals=[])
        test_loop.call_soon_threadsafe(connections.put_nowait, worker)
        await worker.start()

    async with Gateway() as gateway:
        running = asyncio.create_task(asyncio.to_thread(asyncio.run, program(gateway.api_url)))
        worker = await connections.get()
        peer = await gateway.accept()
        await peer.handshake(heartbeat="100ms", extend="100ms")
        await peer.call()
        await peer.expect_ack()
        await asyncio.to_thread(blocked.begun.wait, 5)

        for _ in range(2):
            await peer.expect_extension()
            await peer.send(Kind.GATEWAY_HEARTBEAT)

        blocked.release.set()
        await peer.expect_past_extensions(Kind.WORKER_REPLY)
        await peer.ack_reply("req-1")
        await worker.close()
        assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
        await running


@on_loop
async def test_heartbeats_come_at_the_advertised_interval() -> None:
    async with story(declared(total)) as told:
        peer = await told.ready(heartbeat="100ms")

        await peer.expect_heartbeat()
        await peer.send(Kind.GATEWAY_HEARTBEAT)
        await peer.expect_heartbeat()


@on_loop
async def test_gateway_that_answers_no_heartbeats_is_replaced() -> None:
    async with story(declared(total)) as told:
        await told.ready(heartbeat="100ms")

        await told.ready()
        await told.worker.wait_for_state(ACTIVE)

        assert told.worker.get_connection_id() == "connection-2"


@pytest.mark.usefixtures("no_flush")
@on_loop
async def test_gateway_that_does_not_read_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither heartbeats nor a close frame get through to it."""
    monkeypatch.setattr(link, "ABORT_AFTER_S", 0.1)

    async def large(_ctx: Context) -> str:
        return "x" * (4 * 2**20)

    async with story(declared(large)) as told:
        peer = await told.ready(heartbeat="100ms")
        for number in range(8):
            await peer.call(f"{number}")

        second = await told.ready()

        replies = [await second.expect_reply() for _ in range(8)]
        assert {reply.request_id for reply in replies} == {f"{number}" for number in range(8)}


# --- losing a socket ---


@pytest.mark.parametrize("how", ["cut", "closed", "closing"])
def test_lost_socket_is_replaced_and_running_calls_are_kept(how: str) -> None:
    @on_loop
    async def run() -> None:
        held = Held()
        async with story(declared(held)) as told:
            first = await told.ready()
            await first.call(lease_id="lease-1")
            await first.expect_ack()
            await held.begun.wait()

            if how == "cut":
                first.cut()
            else:
                reason = "" if how == "closed" else "connect_gateway_closing"
                await first.close(1001, reason)
            await told.worker.wait_for_state(RECONNECTING)
            second = await told.ready()

            assert (await second.expect_extension()).lease_id == "lease-1"
            await told.worker.wait_for_state(ACTIVE)
            held.release.set()
            assert (await second.expect_reply()).body == b'"released"'
            assert held.runs == 1

    run()


@pytest.mark.usefixtures("no_flush")
@on_loop
async def test_reply_whose_acknowledgement_was_lost_is_sent_on_the_new_socket() -> None:
    async with story(declared(total)) as told:
        first = await told.ready()
        await first.call(data={"total": 4})
        await first.expect_ack()
        reply = await first.expect_reply()

        first.cut()
        second = await told.ready()

        assert await second.expect_reply() == reply
        await second.ack_reply("req-1")


@on_loop
async def test_reply_without_a_socket_leaves_over_http() -> None:
    held = Held()
    async with story(declared(held)) as told:
        peer = await told.ready()
        await peer.call()
        await peer.expect_ack()
        await held.begun.wait()
        told.gateway.start_statuses = [503] * 1_000
        told.gateway.flush_statuses = [503, 200]  # the first attempt fails, and is repeated

        peer.cut()
        await told.worker.wait_for_state(RECONNECTING)
        held.release.set()

        reply = await told.gateway.flushed_reply()
        assert (reply.request_id, reply.body) == ("req-1", b'"released"')
        told.gateway.start_statuses.clear()
        again = await told.ready()
        await told.worker.wait_for_state(ACTIVE)
        await again.call("req-2")
        assert (await again.expect_ack()).request_id == "req-2"  # no reply to req-1 before it


@on_loop
async def test_active_worker_outlives_a_refused_key() -> None:
    async with story(declared(total)) as told:
        peer = await told.ready()
        await told.worker.wait_for_state(ACTIVE)
        told.gateway.start_statuses = [401, 403]

        peer.cut()

        await told.ready()
        await told.worker.wait_for_state(ACTIVE)
        assert len(told.gateway.starts) == 4


# --- a gateway that leaves ---


@on_loop
async def test_leaving_gateway_is_replaced_before_it_is_left() -> None:
    held = Held()
    async with story(declared(held)) as told:
        old = await told.ready(extend="100ms")
        await old.call(lease_id="lease-1")
        await old.expect_ack()
        await held.begun.wait()

        await old.send(Kind.GATEWAY_CLOSING)
        await told.worker.wait_for_state(RECONNECTING)
        new = await told.gateway.accept()
        assert list(told.gateway.starts[-1][0].exclude_gateways) == [GROUP]
        # The old socket is in use until the new one is ready.
        await old.expect_extension()
        await old.answer_extension("req-1", "lease-2")
        await new.handshake(extend="100ms")

        assert (await new.expect_extension()).request_id == "req-1"
        assert await old.closed() == (1000, "GATEWAY_DRAINING")
        held.release.set()
        await new.expect_past_extensions(Kind.WORKER_REPLY)
        assert held.runs == 1
        assert told.worker.state is ACTIVE


@on_loop
async def test_reply_goes_to_the_leaving_gateway_while_there_is_no_other() -> None:
    held = Held()
    async with story(declared(held)) as told:
        old = await told.ready()
        await old.call()
        await old.expect_ack()
        told.gateway.start_statuses = [503] * 1_000

        await old.send(Kind.GATEWAY_CLOSING)
        await told.worker.wait_for_state(RECONNECTING)
        held.release.set()

        assert (await old.expect_reply()).request_id == "req-1"
        await old.ack_reply("req-1")


@on_loop
async def test_call_that_both_gateways_deliver_runs_once() -> None:
    held = Held()
    async with story(declared(held)) as told:
        old = await told.ready()
        await old.call()
        await old.expect_ack()
        await old.send(Kind.GATEWAY_CLOSING)
        new = await told.ready()
        await new.expect_extension()

        await new.call()

        assert (await new.expect_ack()).request_id == "req-1"
        held.release.set()
        await new.expect_reply()
        assert held.runs == 1


# --- the end ---


@on_loop
async def test_close_finishes_what_is_in_flight() -> None:
    held = Held()
    async with story(declared(held)) as told:
        peer = await told.ready(heartbeat="100ms", extend="100ms")
        await peer.call()
        await peer.expect_ack()
        await held.begun.wait()

        await told.worker.close()
        await peer.expect_past_extensions(Kind.WORKER_PAUSE)
        assert told.worker.state is CLOSING
        await peer.call("late")  # is not acknowledged
        await peer.expect_extension()
        held.release.set()
        await peer.expect_past_extensions(Kind.WORKER_REPLY)
        await peer.ack_reply("req-1")

        assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
        await told.ended()
        assert held.runs == 1


@on_loop
async def test_close_leaves_unacknowledged_replies_over_http() -> None:
    async with story(declared(total)) as told:
        peer = await told.ready()
        await peer.call()
        await peer.expect_ack()
        await peer.expect_reply()

        await told.worker.close()

        assert (await told.gateway.flushed_reply()).request_id == "req-1"
        assert await peer.closed() == (1000, "WORKER_SHUTDOWN")


@on_loop
async def test_close_goes_on_over_a_lost_socket() -> None:
    held = Held()
    async with story(declared(held)) as told:
        first = await told.ready()
        await first.call()
        await first.expect_ack()
        await held.begun.wait()
        await told.worker.close()
        await first.expect(Kind.WORKER_PAUSE)

        first.cut()
        second = await told.ready()

        await second.expect_extension()
        await second.expect(Kind.WORKER_PAUSE)
        held.release.set()
        await second.expect_reply()
        await second.ack_reply("req-1")
        assert await second.closed() == (1000, "WORKER_SHUTDOWN")
        assert told.worker.state is CLOSED or told.worker.state is CLOSING
        await told.ended()


@on_loop
async def test_second_close_does_not_wait(caplog: pytest.LogCaptureFixture) -> None:
    held, stuck = Held(), HeldSync()
    async with story(declared(held), declared(stuck, "stuck")) as told:
        peer = await told.ready()
        await peer.call("async")
        await peer.call("sync", function="stuck")
        await peer.expect_ack()
        await peer.expect_ack()
        await held.begun.wait()
        await told.worker.close()
        await peer.expect(Kind.WORKER_PAUSE)

        await told.worker.close(wait=True)

        assert held.cancelled.is_set()
        assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
        await told.ended()
    stuck.release.set()
    assert "stopping with 2 calls unfinished" in caplog.text


@on_loop
async def test_close_before_the_first_connection_ends_at_once() -> None:
    async with story(declared(total)) as told:
        told.gateway.start_statuses = [503] * 1_000
        await told.gateway.asked.wait()

        await told.worker.close(wait=True)

        await told.ended()


@on_loop
async def test_close_during_a_handshake_leaves_it() -> None:
    async with story(declared(total)) as told:
        peer = await told.gateway.accept()
        await peer.greet()

        await told.worker.close()

        assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
        await told.ended()


@on_loop
async def test_cancelled_start_cancels_its_calls_and_ends() -> None:
    held = Held()
    async with story(declared(held)) as told:
        peer = await told.ready()
        await peer.call()
        await held.begun.wait()
        assert told.started is not None

        told.started.cancel()
        await asyncio.wait([told.started])

        assert told.started.cancelled()
        assert held.cancelled.is_set()
        assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
        await told.worker.closed()


# --- replies that are too large for the server ---


@pytest.mark.usefixtures("no_flush")
@pytest.mark.parametrize("ready", [True, False])
def test_reply_that_closed_the_socket_for_its_size_is_not_sent_again(
    ready: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def large(_ctx: Context) -> str:
        return "x" * 100_000

    @on_loop
    async def run() -> None:
        async with story(declared(large)) as told:
            peer = await told.ready()
            await peer.call()
            await peer.expect_ack()
            await peer.expect_reply()
            if ready:
                await peer.close(1009, "message too big")
            else:
                peer.cut()
                peer = await told.gateway.accept()
                await peer.greet()
                await peer.close(1009, "message too big")  # so it was no reply of ours

            again = await told.ready()
            reply = await again.expect_reply()

            assert reply.request_id == "req-1"
            if ready:
                assert reply.no_retry
                assert json.loads(reply.body)["code"] == "output_too_large"
                assert "the reply to call req-1 has 100" in caplog.text
            else:
                assert len(reply.body) == 100_002

    run()


@on_loop
async def test_reply_that_is_too_large_for_http_is_replaced_and_holds_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()

    async def some(ctx: Context) -> str:
        await release.wait()
        return "x" * int(ctx.event.data["size"])

    async with story(declared(some)) as told:
        peer = await told.ready()
        for number, size in enumerate((100_000, 10, 20)):
            await peer.call(f"req-{number}", data={"size": size})
            await peer.expect_ack()
        told.gateway.start_statuses = [503] * 1_000
        told.gateway.flush_statuses = [413, 200, 413, 200]

        peer.cut()
        await told.worker.wait_for_state(RECONNECTING)
        release.set()

        first, last = await told.gateway.flushed_reply(), await told.gateway.flushed_reply()
        assert (first.request_id, first.no_retry) == ("req-0", True)
        assert json.loads(first.body)["code"] == "output_too_large"
        assert (last.request_id, last.body) == ("req-2", b'"' + b"x" * 20 + b'"')
        assert "it is dropped" in caplog.text


@pytest.mark.parametrize("endpoint", ["ws://[::1", "ws://127.0.0.1:99999/x", "http://h/x", ""])
def test_gateway_address_that_cannot_be_one_is_asked_for_again(
    endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    @on_loop
    async def run() -> None:
        async with story(declared(total)) as told:
            peer = await told.ready()
            await told.worker.wait_for_state(ACTIVE)
            usable, told.gateway.gateway_url = told.gateway.gateway_url, endpoint
            starts = len(told.gateway.starts)
            peer.cut()
            while len(told.gateway.starts) < starts + 3:
                told.gateway.asked.clear()
                await told.gateway.asked.wait()
            told.gateway.gateway_url = usable

            await told.ready()

            assert caplog.text.count("is not one; it must look like") == 1

    run()
