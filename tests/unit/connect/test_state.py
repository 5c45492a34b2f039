"""The public state of a connection."""

from __future__ import annotations

import asyncio
import threading

import pytest

from stepwell.connect.state import ConnectionState, StateCell
from stepwell.errors import AuthError, StepwellError
from tests.unit.connect.loop import on_loop

CONNECTING = ConnectionState.CONNECTING
ACTIVE = ConnectionState.ACTIVE
RECONNECTING = ConnectionState.RECONNECTING
CLOSING = ConnectionState.CLOSING
CLOSED = ConnectionState.CLOSED


def cell() -> tuple[StateCell, list[ConnectionState]]:
    seen: list[ConnectionState] = []
    return StateCell(seen.append), seen


def test_every_change_is_told_once() -> None:
    state, seen = cell()

    for step in (CONNECTING, ACTIVE, ACTIVE, RECONNECTING, ACTIVE, CLOSING, CLOSED, CLOSED):
        state.move(step)

    assert seen == [ACTIVE, RECONNECTING, ACTIVE, CLOSING, CLOSED]


def test_nothing_but_closed_follows_closing() -> None:
    state, seen = cell()

    for step in (CLOSING, ACTIVE, RECONNECTING, CLOSED, CLOSING, ACTIVE):
        state.move(step)

    assert seen == [CLOSING, CLOSED]
    assert state.value is CLOSED


@on_loop
async def test_present_state_needs_no_waiting() -> None:
    state, _ = cell()

    await state.wait_for(CONNECTING)


@on_loop
async def test_state_of_another_thread_wakes_the_waiter() -> None:
    state, _ = cell()
    waiting = asyncio.create_task(state.wait_for(ACTIVE))
    await asyncio.sleep(0)

    thread = threading.Thread(target=state.move, args=(ACTIVE,))
    thread.start()

    await waiting
    thread.join()


@on_loop
async def test_state_that_lasted_a_moment_wakes_the_waiter() -> None:
    state, _ = cell()
    waiting = asyncio.create_task(state.wait_for(ACTIVE))
    await asyncio.sleep(0)

    state.move(ACTIVE)
    state.move(RECONNECTING)

    await waiting


@on_loop
async def test_state_that_cannot_come_any_more_raises() -> None:
    state, _ = cell()
    waiting = asyncio.create_task(state.wait_for(ACTIVE))
    await asyncio.sleep(0)

    state.move(CLOSED, AuthError("wrong key"))

    for wait in (waiting, state.wait_for(RECONNECTING)):
        with pytest.raises(StepwellError) as caught:
            await wait
        assert caught.value.code == "connection_closed"
        assert isinstance(caught.value.__cause__, AuthError)
    await state.wait_for(CLOSED)


@on_loop
async def test_waiter_that_gave_up_is_forgotten() -> None:
    state, _ = cell()
    waiting = asyncio.create_task(state.wait_for(ACTIVE))
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.wait([waiting])
    state.move(ACTIVE)

    assert waiting.cancelled()


def test_waiter_whose_loop_has_ended_does_no_harm() -> None:
    state, seen = cell()
    loop = asyncio.new_event_loop()
    task = loop.create_task(state.wait_for(ACTIVE))
    loop.call_soon(lambda: loop.call_soon(loop.stop))
    loop.run_forever()
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # abandoned on purpose
    loop.close()

    state.move(ACTIVE)

    assert seen == [ACTIVE]
