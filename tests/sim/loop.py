"""The event loop of one simulated process: calls come when the world's clock says so.

It has what the server's core asks of a loop. When the process dies its loop is dead: nothing that
was put on it happens any more.
"""

from __future__ import annotations

import asyncio
import math
import threading
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sim.world import Planned, World


class SimLoop:
    """A loop for callbacks, timers and futures; `as_loop` is the same for those who ask for one.

    Args:
        run: Runs a callback and sees to what comes of it.
    """

    def __init__(self, world: World, run: Callable[..., None]) -> None:
        self._world = world
        self._run = run
        self.dead = False
        self._from_threads: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self._called = threading.Event()
        self.as_loop = cast("asyncio.AbstractEventLoop", self)

    def time(self) -> float:
        return self._world.now_ms / 1000

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self.as_loop)

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        del context
        return self._plan(0, callback, args, counts=True)

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> Any:
        del context
        # Rounded up, so that it never comes too soon; timers alone do not keep a world going.
        return self._plan(math.ceil(delay * 1000 - 1e-3), callback, args, counts=False)

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> Any:
        """From the committer's thread; the world fetches it with `take_from_threads`."""
        del context
        if self.dead:
            raise RuntimeError("the loop is closed")
        self._from_threads.append((callback, args))
        self._called.set()

    def wait_for_thread(self, most_s: float) -> None:
        """Until a thread has called."""
        assert self._called.wait(most_s), "15: the committer's thread does not say what it did"
        self._called.clear()

    def take_from_threads(self, delay_ms: int, first: Callable[[], None]) -> None:
        """Let what a thread has put here happen after a while, `first` before all of it."""
        taken, self._from_threads = self._from_threads, []

        def call() -> None:
            first()
            for callback, args in taken:
                callback(*args)

        self._plan(delay_ms, call, (), counts=True)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A future of a process that died had an exception that nobody hears of any more."""

    def _plan(
        self, delay_ms: int, callback: Callable[..., Any], args: tuple[Any, ...], *, counts: bool
    ) -> Planned:
        def act() -> None:
            if not self.dead:
                self._run(lambda: callback(*args), timer=not counts)

        name = getattr(callback, "__qualname__", type(callback).__name__)
        return self._world.later(delay_ms, f"loop: {name}", act, counts=counts)
