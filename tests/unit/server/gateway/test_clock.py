"""The event loop as the gateway's clock."""

from __future__ import annotations

import asyncio

from stepwell.server.gateway.clock import LoopClock
from tests.unit.server.loop import on_loop


@on_loop
async def test_a_call_comes_when_its_time_has_come_and_never_before() -> None:
    clock = LoopClock()
    called: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    at_ms = clock.now_ms() + 5
    clock.call_at(at_ms, lambda: called.set_result(clock.now_ms()))
    assert await called >= at_ms


@on_loop
async def test_a_call_that_was_cancelled_does_not_come() -> None:
    clock = LoopClock()
    called: list[str] = []
    clock.call_at(clock.now_ms(), lambda: called.append("cancelled")).cancel()
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    clock.call_at(clock.now_ms() + 2, lambda: done.set_result(None))
    await done
    assert called == []
