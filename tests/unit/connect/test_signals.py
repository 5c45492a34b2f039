"""Shutdown signals, shared and given back."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING

from stepwell.connect.signals import on_signals
from tests.unit.connect.loop import on_loop

if TYPE_CHECKING:
    from types import FrameType

    import pytest

USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2


def raise_signal(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@on_loop
async def test_every_listener_hears_each_signal() -> None:
    first, second = asyncio.Queue[str](), asyncio.Queue[str]()

    with on_signals([USR1], lambda: first.put_nowait("x")):
        with on_signals([USR1, USR2], lambda: second.put_nowait("x")):
            raise_signal(USR1)
            await first.get()
            await second.get()
        raise_signal(USR1)
        await first.get()

    assert second.empty()


@on_loop
async def test_handler_of_before_is_put_back() -> None:
    heard: list[int] = []

    def before(number: int, _frame: FrameType | None) -> None:
        heard.append(number)

    original = signal.signal(USR1, before)
    try:
        with on_signals([USR1], lambda: None):
            assert signal.getsignal(USR1) is not before
        assert signal.getsignal(USR1) is before
        signal.raise_signal(USR1)
        assert heard == [USR1]
    finally:
        signal.signal(USR1, original)


@on_loop
async def test_no_signals_change_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)

    with on_signals([], lambda: None):
        assert signal.getsignal(signal.SIGTERM) is before


@on_loop
async def test_other_threads_have_no_signals() -> None:
    before = signal.getsignal(USR1)

    async def story() -> None:
        with on_signals([USR1], lambda: None):
            assert signal.getsignal(USR1) is before

    await asyncio.to_thread(asyncio.run, story())


@on_loop
async def test_loop_without_signals_is_served_too(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    def refuse(*_args: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(type(loop), "add_signal_handler", refuse)
    before = signal.getsignal(USR1)
    heard = asyncio.Event()

    with on_signals([USR1], heard.set):
        raise_signal(USR1)
        await heard.wait()

    assert signal.getsignal(USR1) is before
    assert threading.current_thread() is threading.main_thread()
