"""Links of either kind, with a thread of its own for the functions."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from stepwell.connect import dial as dialling
from stepwell.connect.dial import PlainSocket, dial
from stepwell.connect.direct_link import DirectLink
from stepwell.connect.loop_link import LoopLink
from stepwell.connect.session import Ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Self

    import pytest
    from websockets.asyncio.client import ClientConnection
    from websockets.uri import WebSocketURI

    from stepwell.connect.link import Link
    from stepwell.connect.session import Fact, Session

WAIT_S = 5.0


class CallerThread:
    """The program's loop, on a thread of its own; see `direct_link.Caller`.

    Args:
        new_loop: Makes the loop.
    """

    def __init__(
        self, new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    ) -> None:
        self.loop = new_loop()
        self.thread_id: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def ask(self, callback: Callable[[], None]) -> bool:
        """Have the loop call something; False if it has ended."""
        try:
            self.loop.call_soon_threadsafe(callback)
        except RuntimeError:
            return False
        return True

    def end(self) -> None:
        """Close the loop, as a program does that ends."""
        self.ask(self.loop.stop)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    async def turn(self) -> None:
        """Wait until it has done what it was asked before."""
        turned = asyncio.Event()
        here = asyncio.get_running_loop()
        assert self.ask(lambda: _soon(here, turned.set))
        async with asyncio.timeout(WAIT_S):
            await turned.wait()

    def _run(self) -> None:
        self.thread_id = threading.get_ident()
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()


class Block:
    """Code of the program that does not give its loop back until it is told to.

    Args:
        first: What it does before.
    """

    def __init__(self, caller: CallerThread, *, first: Callable[[], None] | None = None) -> None:
        self._caller = caller
        self._first = first
        self._blocked = threading.Event()
        self._go_on = threading.Event()

    async def __aenter__(self) -> Self:
        self.begin()
        assert await asyncio.to_thread(self._blocked.wait, WAIT_S)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.end()

    def begin(self) -> None:
        """When the loop comes to it."""
        self._caller.ask(self._wait)

    def end(self) -> None:
        """Give the loop back."""
        self._go_on.set()

    def _wait(self) -> None:
        if self._first is not None:
            self._first()
        self._blocked.set()
        self._go_on.wait(2 * WAIT_S)  # longer than a test waits for what may not need it


def dial_with_help_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have plain sockets opened the way of those that need TLS or a proxy."""

    async def helped(uri: WebSocketURI) -> ClientConnection:
        url = f"ws://{uri.host}:{uri.port}{uri.resource_name}"
        return await dialling._dial_with_help(url, proxied=False)

    monkeypatch.setattr(dialling, "_dial_plain", helped)


class Opened:
    """A link that runs, as the worker would have it: READY completes its handshake."""

    def __init__(self, link: Link, lock: threading.RLock, running: asyncio.Task[None]) -> None:
        self.link = link
        self.lock = lock
        self._running = running

    async def ended(self) -> None:
        """Wait until the socket is over; raise what its `run` raised."""
        async with asyncio.timeout(WAIT_S):
            await asyncio.wait([self._running])
        await self._running


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(callback)


def _ignore(_link: Link, _what: object) -> None:
    return


@asynccontextmanager
async def link_to(
    url: str,
    session: Session,
    *,
    on_fact: Callable[[Link, Fact], None] = _ignore,
    on_reply_left: Callable[[Link, str], None] = _ignore,
    caller: CallerThread | None = None,
) -> AsyncIterator[Opened]:
    """Open a link of the kind that belongs to the address; in the end it is cut off.

    Args:
        caller: Stays open; by default there is one that ends after the link.
    """

    def take_fact(link: Link, fact: Fact) -> None:
        on_fact(link, fact)
        if isinstance(fact, Ready):
            link.ready.set_result(None)

    lock = threading.RLock()
    common = {
        "lock": lock,
        "connection_id": "c",
        "group": "g",
        "on_fact": take_fact,
        "on_reply_left": on_reply_left,
    }
    with ExitStack() as stack:
        at = stack.enter_context(CallerThread()) if caller is None else caller
        socket = await dial(url)
        link: Link
        if isinstance(socket, PlainSocket):
            link = DirectLink(socket, session, caller=at, **common)
        else:
            link = LoopLink(socket, session, **common)
        running = asyncio.create_task(link.run())
        try:
            yield Opened(link, lock, running)
        finally:
            running.cancel()
            await asyncio.wait([running])
            if at is caller and not at.loop.is_closed():
                await at.turn()
