"""A thousand workers come and go and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import resource

import pytest

from stepwell.server.gateway.connection import Connection
from stepwell.server.gateway.socket import Socket
from stepwell.server.workers import DISCONNECTED_KEPT_MAX
from tests.e2e.gateway.raw_worker import open_bench, until
from tests.unit.server.loop import on_loop
from tests.unit.server.manual_clock import ManualClock

SOCKETS = 1_000
AT_A_TIME = 50


def living(kind: type) -> int:
    gc.collect()
    # By type: `isinstance` asks lazy objects of other libraries for their class.
    return sum(issubclass(type(thing), kind) for thing in gc.get_objects())


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 4 * AT_A_TIME, reason="too few descriptors"
)
@on_loop
async def test_a_thousand_sockets_leave_nothing() -> None:
    clock = ManualClock()
    before = living(Socket), living(Connection)  # other tests' errors keep some of theirs
    async with open_bench(clock=clock) as bench:
        turn = asyncio.Semaphore(AT_A_TIME)

        async def come_and_go(number: int) -> None:
            async with turn, bench.worker(instance_id=f"box-{number}") as worker:
                if number % 3 == 0:
                    worker.socket.transport.abort()  # every third one is cut off

        async with asyncio.TaskGroup() as tasks:
            for number in range(SOCKETS):
                tasks.create_task(come_and_go(number))
        await until(lambda: bench.gateway.connection_count == 0)
        assert bench.book.live_count == 0
        assert len(bench.book.list()) == min(SOCKETS, DISCONNECTED_KEPT_MAX)
        assert len(bench.runtime.named("attach")) == len(bench.runtime.named("gone")) == SOCKETS
        assert bench.runtime.named("register") == [("shop", "v1")]
        bench.runtime.attached.clear()  # the runtime forgets a port when its connection is gone
        assert clock.waiting == 0
        assert (living(Socket), living(Connection)) == before
