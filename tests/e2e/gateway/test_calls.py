"""Calls out, acknowledgements, replies and leases in. Numbers: the reference's behaviours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.errors import StepwellError, StoreError
from stepwell.server.gateway import connection
from stepwell.wire.connect import Kind, WorkerReplyAckData, WorkerRequestExtendLeaseAckData
from stepwell.wire.ids import parse_ulid, ulid_ms, ulid_text
from stepwell.wire.outcomes import Ops, Raised, Returned
from tests.e2e.gateway.raw_worker import open_bench, until
from tests.unit.server.gateway.messages import (
    HEARTBEAT,
    PAUSE,
    REQUEST_ID,
    ack,
    extend,
    made,
    reply,
)
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from stepwell.server.runtime import WorkerPort
    from tests.e2e.gateway.raw_worker import Bench, RawWorker

STEP_OP = b'[{"op":"StepRun","id":"%s","displayName":"charge","data":{"n":1}}]' % (b"a" * 40)


def port_of(bench: Bench, worker: RawWorker) -> WorkerPort:
    return bench.runtime.attached[worker.connection_id].port


async def replies_acked(worker: RawWorker, count: int) -> list[str]:
    return [
        WorkerReplyAckData.FromString(await worker.receive_kind(Kind.WORKER_REPLY_ACK)).request_id
        for _ in range(count)
    ]


@on_loop
async def test_calls_are_buffered_and_leave_with_one_flush() -> None:  # 15
    async with open_bench() as bench, bench.worker() as worker:
        port = port_of(bench, worker)
        port.send_call(made("one", b"first"))
        port.send_call(made("two", b"second"))
        await worker.send(HEARTBEAT)
        port.flush()
        assert await worker.receive() == (Kind.GATEWAY_EXECUTOR_REQUEST, b"first")
        assert await worker.receive() == (Kind.GATEWAY_EXECUTOR_REQUEST, b"second")


@on_loop
async def test_a_call_of_the_largest_size_arrives_whole() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        payload = bytes(range(256)) * (4 * 2**20 // 256)
        port_of(bench, worker).send_call(made("big", payload))
        port_of(bench, worker).flush()
        assert await worker.receive() == (Kind.GATEWAY_EXECUTOR_REQUEST, payload)


@on_loop
async def test_an_ack_reaches_the_runtime() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        await worker.send(ack(REQUEST_ID), ack(""))
        await until(lambda: len(bench.runtime.named("acked")) == 2)
        assert bench.runtime.named("acked") == [
            (worker.connection_id, REQUEST_ID),
            (worker.connection_id, ""),
        ]


@on_loop
async def test_replies_reach_the_runtime_as_outcomes_and_are_acknowledged() -> None:  # 16, 17, 18
    async with open_bench() as bench, bench.worker() as worker:
        await worker.send(
            reply("done", status=1, body=b'{"done":true}'),
            reply("ops", body=STEP_OP, request_version=2),
            reply("error", status=2, body=b'{"message":"m"}', retry_after="5"),
            reply("final", status=1, body=b'{"message":"m"}', no_retry=True),
        )
        assert await replies_acked(worker, 4) == ["done", "ops", "error", "final"]
        done, ops, error, final = (outcome for _id, outcome in bench.runtime.outcomes)
        assert done == Returned(output=b'{"done":true}')
        assert isinstance(ops, Ops)
        assert ops.version == 2
        assert isinstance(error, Raised)
        assert error.retry_at_ms is not None
        assert isinstance(final, Raised)
        assert final.no_retry


@on_loop
async def test_a_reply_is_acknowledged_only_when_it_is_stored_and_holds_up_nothing() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        bench.runtime.holds_reports = True
        await worker.send(reply("one"), reply("two"), ack("three"), HEARTBEAT)
        await worker.receive_kind(Kind.GATEWAY_HEARTBEAT)
        assert bench.runtime.named("acked") == [(worker.connection_id, "three")]
        bench.runtime.release()
        assert await replies_acked(worker, 2) == ["one", "two"]


@on_loop
async def test_acknowledgements_and_calls_of_one_commit_leave_in_order() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        bench.runtime.holds_reports = True
        await worker.send(reply("one"))
        await until(lambda: bool(bench.runtime.held))
        bench.runtime.release()
        port = port_of(bench, worker)
        port.send_call(made("next", b"call"))
        port.flush()
        assert (await worker.receive())[0] is Kind.WORKER_REPLY_ACK
        assert (await worker.receive())[0] is Kind.GATEWAY_EXECUTOR_REQUEST


@pytest.mark.parametrize("error", [StoreError("disk full"), StepwellError("kept for inspection")])
def test_a_reply_that_is_not_stored_is_not_acknowledged(error: StepwellError) -> None:
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.worker() as worker:
            bench.runtime.report_error = error
            await worker.send(reply("lost"), HEARTBEAT)
            await worker.receive_kind(Kind.GATEWAY_HEARTBEAT)
            bench.runtime.report_error = None
            await worker.send(reply("lost"))
            assert await replies_acked(worker, 1) == ["lost"]

    check()


@on_loop
async def test_a_reply_counts_without_an_ack_and_on_another_connection() -> None:  # 20, 21
    async with open_bench() as bench, bench.worker() as one, bench.worker() as two:
        await two.send(reply("from one"))
        assert await replies_acked(two, 1) == ["from one"]
        assert bench.runtime.named("acked") == []
        assert one.connection_id != two.connection_id


@on_loop
async def test_each_duplicate_of_a_reply_is_acknowledged() -> None:  # 19
    async with open_bench() as bench, bench.worker() as worker:
        await worker.send(reply("twice"), reply("twice"))
        assert await replies_acked(worker, 2) == ["twice", "twice"]


@on_loop
async def test_a_reply_and_a_close_in_one_packet_are_told_in_order() -> None:
    async with open_bench() as bench:
        async with bench.worker() as worker:
            await worker.send(reply("last"), PAUSE)
        await until(lambda: not bench.gateway.connection_count)
        told = [name for name, _argument in bench.runtime.asked]
        assert told == ["register", "attach", "report", "detach", "gone"]


@on_loop
async def test_a_worker_that_closes_gets_the_acknowledgement_that_was_on_its_way() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        bench.runtime.holds_reports = True
        await worker.send(reply("last"))
        await until(lambda: bool(bench.runtime.held))
        worker.socket.protocol.send_close(1000, "WORKER_SHUTDOWN")
        worker.socket.transport.writelines(worker.socket.protocol.data_to_send())
        await until(lambda: bool(bench.runtime.named("gone")))
        bench.runtime.release()
        assert await replies_acked(worker, 1) == ["last"]
        assert await worker.closed() == (1000, "WORKER_SHUTDOWN")


@on_loop
async def test_a_worker_that_floods_replies_is_read_only_as_fast_as_they_are_stored() -> None:
    async with open_bench() as bench, bench.worker() as worker:
        bench.runtime.holds_reports = True
        many = connection.PENDING_MAX + 4_000  # more than one read of the socket gives
        for number in range(many):
            await worker.send(reply(str(number), status=1, body=b"1" * 200))
        await until(lambda: len(bench.runtime.held) >= connection.PENDING_MAX)
        held = len(bench.runtime.held)
        await worker.send(HEARTBEAT)
        while len(bench.runtime.outcomes) < many:
            bench.runtime.release()
            await until(lambda: bool(bench.runtime.held))
        bench.runtime.release()
        assert held < many
        answers = [(await worker.receive())[0] for _ in range(many + 1)]
        assert answers.count(Kind.WORKER_REPLY_ACK) == many


@on_loop
async def test_an_extension_moves_the_lease() -> None:  # 27
    async with open_bench() as bench, bench.worker() as worker:
        lease_id = bench.runtime.lease(REQUEST_ID)
        await worker.send(extend(lease_id, function_slug="shop-ship"))
        answer = WorkerRequestExtendLeaseAckData.FromString(
            await worker.receive_kind(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
        )
        assert (answer.request_id, answer.function_slug) == (REQUEST_ID, "shop-ship")
        assert answer.new_lease_id == ulid_text(bench.runtime.leases[REQUEST_ID])
        ahead_ms = ulid_ms(parse_ulid(answer.new_lease_id)) - bench.runtime.now_ms()
        assert 110_000 < ahead_ms <= 120_000


@on_loop
async def test_a_lost_lease_is_told_and_the_socket_stays() -> None:  # 29
    async with open_bench() as bench, bench.worker() as worker:
        await worker.send(extend(ulid_text(bytes(16))))
        answer = WorkerRequestExtendLeaseAckData.FromString(
            await worker.receive_kind(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
        )
        assert not answer.HasField("new_lease_id")
        await worker.send(HEARTBEAT)
        await worker.receive_kind(Kind.GATEWAY_HEARTBEAT)


@on_loop
async def test_a_lease_is_extended_on_a_new_socket_of_the_worker() -> None:  # 31
    async with open_bench() as bench:
        lease_id = bench.runtime.lease(REQUEST_ID)
        async with bench.worker():
            pass
        async with bench.worker() as again:
            await again.send(extend(lease_id))
            answer = WorkerRequestExtendLeaseAckData.FromString(
                await again.receive_kind(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK)
            )
            assert answer.HasField("new_lease_id")
