"""An event loop that never waits: a conductor gives it turns, and says what time it is.

Everything above sockets is asyncio's own: transports, timers, tasks. What it polls are sockets of
the simulated network. Each thread of each simulated process has a loop of its own, and all of them
share the one real thread; which loop has the next turn is up to the conductor.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
from asyncio import events
from asyncio.selector_events import BaseSelectorEventLoop
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from contextvars import Context

    from tests.process_sim.clock import VirtualClock
    from tests.process_sim.sockets import End, SimSocket


class _Task(asyncio.Task[Any]):
    """Tasks are kept in sets; their order must not depend on addresses."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class SimSelector(selectors.BaseSelector):
    """Tells which sockets are ready, and never waits for one.

    Args:
        sockets: All open sockets by number.
    """

    def __init__(self, sockets: Mapping[int, SimSocket]) -> None:
        self._sockets = sockets
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._ends: list[tuple[End, selectors.SelectorKey]] | None = None  # of the keys, if known

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, _number(fileobj), events, data)
        if key.fd in self._keys:
            raise KeyError(f"{fileobj!r} is registered")
        self._keys[key.fd] = key
        self._ends = None
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        self._ends = None
        return self._keys.pop(_number(fileobj))

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        old = self._keys[_number(fileobj)]
        key = self._keys[old.fd] = old._replace(events=events, data=data)
        self._ends = None
        return key

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[_number(fileobj)]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    @property
    def has_ready(self) -> bool:
        """Whether `select` would give anything."""
        for end, key in self._open_ends():
            # As `is_readable`, which is asked more often than anything else.
            can_read = end.inbox or end.has_eof or end.error or end.backlog
            if can_read and key.events & selectors.EVENT_READ and end.users:
                return True
            if key.events & selectors.EVENT_WRITE and end.is_writable:
                return True
        return False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = []
        for end, key in self._open_ends():
            mask = 0
            if key.events & selectors.EVENT_READ and end.is_readable and end.users:
                mask |= selectors.EVENT_READ
            if key.events & selectors.EVENT_WRITE and end.is_writable:
                mask |= selectors.EVENT_WRITE
            if mask:
                ready.append((key, mask))
        return ready

    def close(self) -> None:
        self._keys.clear()
        self._ends = None

    def _open_ends(self) -> list[tuple[End, selectors.SelectorKey]]:
        if self._ends is None:
            known = ((self._sockets.get(fd), key) for fd, key in self._keys.items())
            self._ends = [(socket.end, key) for socket, key in known if socket is not None]
        return self._ends


class SimLoop(BaseSelectorEventLoop):
    """The loop of one simulated thread.

    Args:
        number: Of the thread.
        on_error: Hears of what asyncio would only log.
    """

    def __init__(
        self,
        name: str,
        number: int,
        *,
        clock: VirtualClock,
        sockets: Mapping[int, SimSocket],
        on_error: Callable[[dict[str, Any]], None],
    ) -> None:
        self.name = name
        self.number = number
        self._clock = clock
        self._sim_selector = SimSelector(sockets)
        self._tasks: dict[_Task, None] = {}
        self._task_count = 0
        super().__init__(self._sim_selector)
        self._clock_resolution = 1e-9
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]  # of 3.11 to 3.14
        self.set_exception_handler(lambda _loop, context: on_error(context))

    # --- what the conductor asks ---

    @property
    def has_work(self) -> bool:
        """Whether a turn would do something now."""
        if self._ready:  # type: ignore[attr-defined]
            return True
        due_s = self.next_timer_s()
        if due_s is not None and due_s <= self._clock.now_s:
            return True
        return self._sim_selector.has_ready

    def next_timer_s(self) -> float | None:
        """When the first timer is due."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return scheduled[0].when() if scheduled else None

    def turn(self) -> None:
        """Run what is ready, as one round of `run_forever`."""
        hooks = sys.get_asyncgen_hooks()
        self._thread_id = self.number
        sys.set_asyncgen_hooks(
            firstiter=self._asyncgen_firstiter_hook,  # type: ignore[attr-defined]
            finalizer=self._asyncgen_finalizer_hook,  # type: ignore[attr-defined]
        )
        events._set_running_loop(self)
        try:
            self._run_once()  # type: ignore[attr-defined]
        finally:
            events._set_running_loop(None)
            self._thread_id = None  # type: ignore[assignment]
            sys.set_asyncgen_hooks(*hooks)

    def let_go(self) -> bool:
        """Cancel what has not ended; False if everything has."""
        tasks = [task for task in self._tasks if not task.done()]
        all_transports = list(self._transports.values())  # type: ignore[attr-defined]
        transports = [each for each in all_transports if each._sock is not None]
        for task in tasks:
            task.cancel()
        for transport in transports:
            transport.abort()
        return bool(tasks or transports)

    # --- what asyncio asks ---

    def time(self) -> float:
        return self._clock.now_s

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """At once, and on this thread."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # whoever awaits the future gets it
            future.set_exception(error)
        return future

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any],
        *,
        context: Context | None = None,
        **named: Any,
    ) -> asyncio.Future[Any]:
        self._task_count += 1
        number = self._task_count
        _Task.number = number  # hashed in the making
        task = _Task(coroutine, loop=loop, context=context, **named)
        task.number = number
        # Kept: a process that dies leaves its tasks where they are, and they must not be collected.
        self._tasks[task] = None
        if number % 256 == 0:
            self._tasks = dict.fromkeys(task for task in self._tasks if not task.done())
        return task

    def _make_self_pipe(self) -> None:
        """Nobody has to wake a loop that never waits."""

    def _close_self_pipe(self) -> None:
        """There is none."""

    def _write_to_self(self) -> None:
        """There is nobody to wake."""


def _number(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
