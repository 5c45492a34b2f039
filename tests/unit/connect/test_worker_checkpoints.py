"""Calls that go on, on the wire: reports over lost, leaving and foreign sockets, and at the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.connect import ConnectionState
from stepwell.wire.connect import CHECKPOINTS, Kind, Status
from tests.unit.connect.loop import on_loop
from tests.unit.connect.story import declared, story

if TYPE_CHECKING:
    from stepwell import Context, ContextSync
    from tests.unit.connect.gateway import Peer

pytestmark = pytest.mark.usefixtures("quick", "kind")

EXTENSIONS = [CHECKPOINTS]


async def two(ctx: Context) -> str:
    first = await ctx.step.run("first", lambda: "1")
    return first + await ctx.step.run("second", lambda: "2")


def two_sync(ctx: ContextSync) -> str:
    return ctx.step.run("first", lambda: "1") + ctx.step.run("second", lambda: "2")


async def cancelled(ctx: Context) -> None:
    import asyncio

    await ctx.step.run("first", lambda: "1")
    raise asyncio.CancelledError


both = pytest.mark.parametrize("handler", [two, two_sync], ids=["async", "sync"])


def step_ids(steps: bytes) -> list[str]:
    return [op["userland"]["id"] for op in json.loads(steps)]


async def first_report(peer: Peer, **call: Any) -> Any:
    """Have the function called, and give its first report, which is not answered."""
    await peer.call(step_id=None, **call)
    await peer.expect_ack()
    report = await peer.expect_checkpoint()
    assert step_ids(report.steps) == ["first"]
    return report


@both
def test_each_step_waits_for_its_answer(handler: Any) -> None:
    @on_loop
    async def run() -> None:
        async with story(declared(handler, checkpointing=True)) as told:
            peer = await told.ready(extensions=EXTENSIONS)
            report = await first_report(peer)
            assert (report.request_id, report.run_id, report.seq) == ("req-1", "run-1", 0)
            await peer.answer_checkpoint(report)
            report = await peer.expect_checkpoint()
            assert (step_ids(report.steps), report.seq) == (["second"], 1)
            await peer.answer_checkpoint(report)
            reply = await peer.expect_reply()
            assert (Status(reply.status), reply.body) == (Status.DONE, b'"12"')

    run()


@both
def test_report_is_sent_again_on_the_next_socket(handler: Any) -> None:
    @on_loop
    async def run() -> None:
        async with story(declared(handler, checkpointing=True)) as told:
            peer = await told.ready(extensions=EXTENSIONS)
            report = await first_report(peer)
            peer.cut()
            peer = await told.ready(extensions=EXTENSIONS)
            again = await peer.expect_checkpoint()
            assert again == report
            await peer.answer_checkpoint(again)
            await peer.answer_checkpoint(again)  # what was sent twice may be answered twice
            report = await peer.expect_checkpoint()
            assert report.seq == 1
            await peer.answer_checkpoint(report)
            while (received := await peer.receive())[0] is not Kind.WORKER_REPLY:
                assert received[0] is Kind.WORKER_REQUEST_EXTEND_LEASE

    run()


@on_loop
async def test_report_leaves_the_gateway_that_leaves() -> None:
    async with story(declared(two, checkpointing=True)) as told:
        first = await told.ready(extensions=EXTENSIONS)
        report = await first_report(first)
        await first.send(Kind.GATEWAY_CLOSING)
        second = await told.ready(extensions=EXTENSIONS)
        assert await second.expect_checkpoint() == report


@both
def test_server_of_the_next_socket_that_takes_no_reports_gets_the_steps_with_the_reply(
    handler: Any,
) -> None:
    @on_loop
    async def run() -> None:
        async with story(declared(handler, checkpointing=True)) as told:
            peer = await told.ready(extensions=EXTENSIONS)
            await first_report(peer)
            peer.cut()
            peer = await told.ready()
            while (received := await peer.receive())[0] is not Kind.WORKER_REPLY:
                assert received[0] is Kind.WORKER_REQUEST_EXTEND_LEASE
            assert b'"StepRun"' in received[1]
            assert told.gateway.checkpoints == []

    run()


@both
def test_other_server_gets_the_reports_over_http(handler: Any) -> None:
    @on_loop
    async def run() -> None:
        async with story(declared(handler, checkpointing=True)) as told:
            told.gateway.checkpoint_statuses = [503]  # the first attempt, which is repeated
            peer = await told.ready()
            await peer.call(step_id=None)
            await peer.expect_ack()
            reply = await peer.expect_reply()
            assert reply.body == b'"12"'
            posted = told.gateway.checkpoints
            assert [op["displayName"] for each in posted for op in each["steps"]] == [
                "first",
                "first",
                "second",
            ]
            assert {each["request_id"] for each in posted} == {"req-1"}
            assert {each["run_id"] for each in posted} == {"run-1"}

    run()


@both
def test_stale_answer_ends_the_call(handler: Any) -> None:
    @on_loop
    async def run() -> None:
        async with story(declared(handler, checkpointing=True)) as told:
            peer = await told.ready(extensions=EXTENSIONS)
            await peer.answer_checkpoint(await first_report(peer), "call_stale")
            reply = await peer.expect_reply()
            assert (json.loads(reply.body)["code"], reply.no_retry) == ("call_stale", True)

    run()


@both
def test_refused_report_is_the_reply(handler: Any) -> None:
    @on_loop
    async def run() -> None:
        async with story(declared(handler, checkpointing=True)) as told:
            peer = await told.ready(extensions=EXTENSIONS)
            await peer.answer_checkpoint(await first_report(peer), "run_state_too_large")
            reply = await peer.expect_reply()
            assert step_ids(reply.body) == ["first"]

    run()


@both
def test_buffered_step_leaves_after_its_interval(handler: Any) -> None:
    @on_loop
    async def run() -> None:
        import threading

        release = threading.Event()

        async def waits(ctx: Context) -> None:
            import asyncio

            await ctx.step.run("first", lambda: "1")
            await asyncio.to_thread(release.wait, 5)

        def waits_sync(ctx: ContextSync) -> None:
            ctx.step.run("first", lambda: "1")
            release.wait(5)

        from stepwell.checkpointing import Checkpointing

        soon = Checkpointing(buffered_steps=1_000, max_interval=1)
        body = waits if handler is two else waits_sync
        async with story(declared(body, checkpointing=soon)) as told:
            peer = await told.ready(extensions=EXTENSIONS)
            report = await first_report(peer)
            await peer.answer_checkpoint(report)
            release.set()
            reply = await peer.expect_reply()
            assert reply.body == b"null"

    run()


@on_loop
async def test_steps_are_stored_before_a_cancellation_that_nobody_asked_for() -> None:
    async with story(declared(cancelled, checkpointing="performant")) as told:
        peer = await told.ready(extensions=EXTENSIONS)
        await peer.answer_checkpoint(await first_report(peer))
        reply = await peer.expect_reply()
        assert Status(reply.status) is Status.ERROR


@on_loop
async def test_call_whose_lease_is_lost_waits_for_no_report() -> None:
    async with story(declared(two, checkpointing=True)) as told:
        peer = await told.ready(extensions=EXTENSIONS, extend="100ms")
        await first_report(peer)
        await peer.expect_extension()
        await peer.answer_extension("req-1", None)
        await peer.call("req-2", step_id=None)
        await peer.expect_past_extensions(Kind.WORKER_REQUEST_ACK)
        report = await peer.expect_checkpoint()
        assert report.request_id == "req-2"


# --- the end ---


@both
def test_worker_that_closes_hands_over_at_the_next_step(handler: Any) -> None:
    @on_loop
    async def run() -> None:
        async with story(declared(handler, checkpointing=True)) as told:
            peer = await told.ready(extensions=EXTENSIONS)
            report = await first_report(peer)
            await told.worker.close()
            await peer.expect(Kind.WORKER_PAUSE)
            await peer.answer_checkpoint(report)
            reply = await peer.expect_reply()
            [op] = json.loads(reply.body)
            assert (op["op"], op["userland"]["id"]) == ("StepPlanned", "second")
            await peer.ack_reply("req-1")
            await told.ended()

    run()


@both
def test_worker_that_closes_without_a_server_does_not_wait_for_it(handler: Any) -> None:
    @on_loop
    async def run() -> None:
        async with story(declared(handler, checkpointing=True)) as told:
            peer = await told.ready(extensions=EXTENSIONS)
            await first_report(peer)
            told.gateway.start_statuses = [503] * 1_000
            peer.cut()
            await told.worker.wait_for_state(ConnectionState.RECONNECTING)
            await told.worker.close()
            reply = await told.gateway.flushed_reply()
            assert step_ids(reply.body) == ["first"]
            await told.ended()

    run()


@both
def test_second_close_leaves_no_call_waiting_for_a_report(handler: Any) -> None:
    import threading

    left: list[threading.Thread] = []

    @on_loop
    async def run() -> None:
        before = set(threading.enumerate())
        async with story(declared(handler, checkpointing=True)) as told:
            peer = await told.ready(extensions=EXTENSIONS)
            await first_report(peer)
            await told.worker.close()
            await told.worker.close(wait=True)
            await told.ended()
            left.extend(set(threading.enumerate()) - before)

    run()
    functions = [thread for thread in left if thread.name.startswith("stepwell-function")]
    for thread in functions:
        thread.join(5)
    assert not any(thread.is_alive() for thread in functions)
