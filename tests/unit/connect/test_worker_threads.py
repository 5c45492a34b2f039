"""A worker's threads: the program's, the protocol's and those of sync functions."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

import stepwell
from stepwell.connect import connect, connection
from stepwell.connect.plan import Timing
from stepwell.wire.connect import Kind, SDKResponse, WorkerRequestAckData
from tests.unit.connect.loop import on_loop
from tests.unit.connect.story import declared, story_elsewhere, total

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stepwell import Context, ContextSync
    from tests.unit.connect.gateway import Peer

WAIT_S = 5.0
SYNC = "shop-sync"

pytestmark = pytest.mark.usefixtures("quick", "kind")


def total_sync(ctx: ContextSync) -> int:
    return int(ctx.event.data.get("total", 0)) * 2


class Blocking:
    """An async function that does not give the program's loop back until it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    async def __call__(self, _ctx: Context) -> str:
        self.begun.set()
        assert self.go_on.wait(2 * WAIT_S)
        return "released"


async def heard(peer: Peer, wanted: Kind) -> bytes:
    """The next message of a kind; heartbeats are answered, and lease extensions come as well."""
    async with asyncio.timeout(WAIT_S):
        while True:
            kind, payload = await peer.receive_any()
            if kind is Kind.WORKER_HEARTBEAT:
                await peer.send(Kind.GATEWAY_HEARTBEAT)
            if kind is wanted:
                return payload
            assert kind in (Kind.WORKER_HEARTBEAT, Kind.WORKER_REQUEST_EXTEND_LEASE), kind.name


@on_loop
async def test_blocked_program_keeps_its_leases_and_sync_functions_run_on() -> None:
    blocking = Blocking()
    async with story_elsewhere(declared(blocking), declared(total_sync, "sync")) as told:
        peer = await told.ready(heartbeat="100ms", extend="100ms")
        await peer.call("blocks")

        # The acknowledgement did not wait for the function; and what follows goes on and on.
        ack = WorkerRequestAckData.FromString(await heard(peer, Kind.WORKER_REQUEST_ACK))
        assert ack.request_id == "blocks"
        assert await asyncio.to_thread(blocking.begun.wait, WAIT_S)
        for _ in range(3):
            await heard(peer, Kind.WORKER_HEARTBEAT)
            await heard(peer, Kind.WORKER_REQUEST_EXTEND_LEASE)
        for number in range(20):
            await peer.call(f"sync-{number}", function="sync", data={"total": number})
            ack = WorkerRequestAckData.FromString(await heard(peer, Kind.WORKER_REQUEST_ACK))
            assert ack.request_id == f"sync-{number}"
            reply = SDKResponse.FromString(await heard(peer, Kind.WORKER_REPLY))
            assert reply.body == str(2 * number).encode()
            await peer.ack_reply(f"sync-{number}")

        blocking.go_on.set()
        reply = SDKResponse.FromString(await heard(peer, Kind.WORKER_REPLY))
        assert reply.body == b'"released"'


@pytest.mark.usefixtures("no_flush")
@on_loop
async def test_replies_from_threads_survive_every_change_of_sockets() -> None:
    calls = 40
    gate = threading.Semaphore(0)

    def held(_ctx: ContextSync) -> str:
        assert gate.acquire(timeout=WAIT_S)
        return "done"

    async with story_elsewhere(declared(held)) as told:
        peer = await told.ready()
        for number in range(calls):
            await peer.call(str(number))
            await peer.expect_ack()
        answered: list[str] = []
        for turn in range(4):
            for _ in range(calls // 4):  # they end while the sockets change
                gate.release()
            if turn % 2:
                peer.cut()
                successor = await told.ready()
            else:
                await peer.send(Kind.GATEWAY_CLOSING)
                successor = await told.ready()
                answered += await replies_until_closed(peer)
            peer = successor
        async with asyncio.timeout(WAIT_S):
            while len(set(answered)) < calls:
                reply = await peer.expect_past_extensions(Kind.WORKER_REPLY)
                answered.append(SDKResponse.FromString(reply).request_id)

    assert set(answered) == {str(number) for number in range(calls)}


async def replies_until_closed(peer: Peer) -> list[str]:
    answered = []
    async for kind, payload in peer.rest():
        if kind is Kind.WORKER_REPLY:
            answered.append(SDKResponse.FromString(payload).request_id)
    return answered


class AsksTheProgram(logging.Handler):
    """Waits for a turn of the program's loop with each record, as one that ships logs might."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.program: asyncio.AbstractEventLoop | None = None
        self.contend: Any = None
        self.answers: list[tuple[str, bool]] = []

    def createLock(self) -> None:
        """Without one: it is what `emit` does that is of interest."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.program is None or threading.current_thread().name != "stepwell-connect":
            return
        answered = threading.Event()

        def answer() -> None:
            if self.contend is not None:
                self.contend()
            answered.set()

        self.program.call_soon_threadsafe(answer)
        self.answers.append((record.getMessage(), answered.wait(WAIT_S / 2)))


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[AsksTheProgram]:
    monkeypatch.setattr(connection, "TIMING", Timing(ack_wait_ms=50, hurry_ms=50))
    handler = AsksTheProgram()
    logger = logging.getLogger("stepwell.connect")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_log_handler_may_wait_for_a_program_that_waits_for_the_worker(
    handler: AsksTheProgram,
) -> None:
    cancelled = threading.Event()

    async def wait(_ctx: Context) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def meet(_ctx: Context) -> str:
        handler.program = asyncio.get_running_loop()
        return "met"

    @on_loop
    async def run() -> None:
        async with story_elsewhere(declared(meet), declared(wait, "waits")) as told:
            worker = told.worker._worker
            # Whatever asks the worker for something may wait for its lock.
            handler.contend = lambda: worker.finished("unknown", None)
            peer = await told.ready(extend="100ms")
            await peer.call("meets")
            await peer.expect_ack()
            await peer.expect_reply()
            await peer.ack_reply("meets")

            await peer.close(1001)
            peer = await told.ready(extend="100ms")
            await peer.call("lost", function="waits")
            await peer.expect_ack()
            assert (await peer.expect_extension()).request_id == "lost"
            await peer.answer_extension("lost", None)
            assert await asyncio.to_thread(cancelled.wait, WAIT_S)
            await peer.send_raw(b"\xff")
            await told.ready()

    run()
    assert [said for said, answered in handler.answers if not answered] == []
    said = " ".join(said for said, _ in handler.answers)
    assert "connected again" in said
    assert "the server does not want call lost any more" in said
    assert "no Connect message" in said


@on_loop
async def test_program_runs_async_functions_on_its_own_thread() -> None:
    threads: list[str] = []

    async def note(_ctx: Context) -> None:
        threads.append(threading.current_thread().name)

    async with story_elsewhere(declared(note), declared(total, "total")) as told:
        peer = await told.ready()
        for number in range(5):
            await peer.call(str(number))
            await peer.expect_ack()
            await peer.expect_reply()

    assert len(threads) == 5
    assert len(set(threads)) == 1
    assert threads[0].startswith("asyncio_")


def test_lease_that_is_due_may_be_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = stepwell.Client(app_id="shop", is_production=False)
    worker = connect([(client, [declared(total)(client)])])._worker
    monkeypatch.setattr(worker._calls, "next_wakeup_ms", lambda: 0)

    async def run() -> None:
        worker._loop = asyncio.get_running_loop()
        worker._thread_id = threading.get_ident()
        for _ in range(2):
            worker._arm()
        assert worker._timer is not None
        worker._timer.cancel()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
