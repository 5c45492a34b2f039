"""Running calls: async functions on the caller's loop, sync functions on threads.

A call that comes on the caller's thread begins there; one that comes on the protocol's thread is
handed over, a burst of them with one wake-up. Reading the request and writing the outcome happen
where the function runs, so the protocol thread stays free for leases and heartbeats.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from stepwell.calling import context_of, context_sync_of, execution_of
from stepwell.checkpointer import Answer, Checkpointer, FlushClock
from stepwell.client import Client
from stepwell.connect.failures import FailureLog
from stepwell.connect.threads import ThreadPool
from stepwell.errors import NonRetriableError, StepwellError
from stepwell.execution import let_out, run_async, run_sync
from stepwell.function import Function
from stepwell.outcome import UNTOLD, Outcome, error_outcome
from stepwell.reporting import http_send
from stepwell.wire.calls import Call, decode_call

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from concurrent.futures import Future

    from stepwell.checkpointer import Send
    from stepwell.execution import Execution
    from stepwell.wire.connect import GatewayExecutorRequestData

RUNTIME_MS = 300_000
"""How long a call with checkpointing lasts, when nobody says."""

SYNC_THREADS_DEFAULT = 64
"""Threads for sync functions when the worker has no limit of its own. They mostly wait for I/O."""


class SocketSend(Protocol):
    """Sends a report of a call that goes on: its number, a JSON array of operations."""

    def __call__(
        self,
        request_id: str,
        run_id: str,
        number: int,
        steps: bytes,
        done: Callable[[Answer], None],
        /,
    ) -> bool: ...


class StateSource(Protocol):
    """Where the state of a run comes from that was too large to send."""

    async def steps_of(self, run_id: str) -> dict[str, msgspec.Raw]: ...
    async def events_of(self, run_id: str) -> list[msgspec.Raw]: ...


class Target(msgspec.Struct, frozen=True):
    """A function and the client that it belongs to."""

    client: Client
    function: Function[Any]


class _Running(NamedTuple):
    """An async call on the caller's loop."""

    task: asyncio.Task[None]
    request: GatewayExecutorRequestData


class Executor:
    """Runs the calls of one connection.

    Args:
        targets: By app name and function id.
        state: Where large state comes from; asked on the protocol's loop.
        finished: Takes a call's outcome, or None if it was cancelled; called on any thread.
        caller_gone: Called when the caller's loop has ended, so that no async call can run.
        checkpoint: Sends steps of a call that goes on over the socket; False if the server takes
            none there.
        is_leaving: Whether the worker is ending.
    """

    def __init__(
        self,
        targets: Mapping[str, Mapping[str, Target]],
        *,
        state: StateSource,
        finished: Callable[[str, Outcome | None], None],
        caller_gone: Callable[[], None],
        checkpoint: SocketSend = lambda _request, _run, _number, _steps, _done: False,
        is_leaving: Callable[[], bool] = lambda: False,
        threads_max: int = SYNC_THREADS_DEFAULT,
    ) -> None:
        self._targets = targets
        self._state = state
        self._finished = finished
        self._caller_gone = caller_gone
        self._checkpoint = checkpoint
        self._is_leaving = is_leaving
        self._flush_clock = FlushClock(self._on_protocol_thread)
        self._pool = ThreadPool(threads_max)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._protocol_loop: asyncio.AbstractEventLoop | None = None
        self._inbox: deque[tuple[GatewayExecutorRequestData, Target]] = deque()
        self._inbox_told = False
        self._running: dict[str, _Running] = {}
        self._unwanted: set[str] = set()
        self._log = FailureLog()
        self.thread_id: int | None = None
        """Of the thread that async functions run on."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The caller's."""
        assert self._loop is not None, "bound before the protocol starts"
        return self._loop

    def bind(self, tasks: asyncio.TaskGroup) -> None:
        """Run async functions on the current loop, as tasks of this group."""
        self._loop = asyncio.get_running_loop()
        self._tasks = tasks
        self.thread_id = threading.get_ident()

    def stop(self) -> None:
        """Run nothing more."""
        self._tasks = None
        self._inbox.clear()
        self._pool.stop()

    def begin(self) -> None:
        """The current loop is the protocol's."""
        self._protocol_loop = asyncio.get_running_loop()

    # --- on the protocol's thread or the caller's ---

    def knows_app(self, app_name: str) -> bool:
        """Whether calls for this app can be answered at all."""
        return app_name in self._targets

    def start(self, request: GatewayExecutorRequestData) -> None:
        """Run a call; `finished` will be called once for it."""
        target = self._targets[request.app_name].get(request.function_slug)
        if target is None:
            error = StepwellError(
                f"app {request.app_name!r} of this worker has no function "
                f"{request.function_slug!r}",
                code="function_not_found",
            )
            self._finished(request.request_id, error_outcome(error))
        elif target.function.is_async and threading.get_ident() == self.thread_id:
            self._begin(request, target)
        elif target.function.is_async:
            self._inbox.append((request, target))
            if not self._inbox_told:
                self._inbox_told = True
                self._tell(self._take_inbox)
        else:
            try:
                self._pool.submit(lambda: self._run_sync(request, target))
            except RuntimeError as error:  # the system has no more threads, and the pool none
                self._log.unreadable(request, error)
                self._finished(request.request_id, error_outcome(error, no_retry=False))

    def cancel(self, request_id: str) -> None:
        """Nobody waits for this call any more: cancel it if it is async."""
        self._tell(self._cancel, request_id)

    def cancel_all(self) -> None:
        """Cancel every async call."""
        self._tell(self._cancel_all)

    def is_busy(self) -> bool:
        """Whether async calls run, or wait to."""
        return bool(self._running or self._inbox)

    def ask(self, callback: Callable[[], None]) -> bool:
        """Have the caller's loop call something when it can; False if it has ended."""
        return self._tell(callback)

    def suspect(self) -> str:
        """The async function that the caller's loop is in, and its run; or those that it may be."""
        task = asyncio.current_task(self._loop)
        running = tuple(self._running.values())
        at_work = [one for one in running if one.task is task] or running
        names = [f"{one.request.function_slug} (run {one.request.run_id})" for one in at_work[:3]]
        if len(at_work) > len(names):
            names.append(f"{len(at_work) - len(names)} others")
        return " or ".join(names) or "code that is not a function's"

    def _tell(self, callback: Callable[..., None], *args: str) -> bool:
        try:
            self.loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the loop is closed
            self._caller_gone()
            return False
        return True

    # --- on the caller's loop ---

    def _take_inbox(self) -> None:
        self._inbox_told = False
        while self._inbox:
            self._begin(*self._inbox.popleft())

    def _begin(self, request: GatewayExecutorRequestData, target: Target) -> None:
        if self._tasks is None:
            return  # the end has come
        request_id = request.request_id
        task = self._tasks.create_task(self._run_async(request, target))
        self._running[request_id] = _Running(task, request)
        task.add_done_callback(partial(self._ended, request_id))

    def _cancel(self, request_id: str) -> None:
        running = self._running.get(request_id)
        if running is not None:
            self._unwanted.add(request_id)
            running.task.cancel()

    def _cancel_all(self) -> None:
        for request_id in list(self._running):
            self._cancel(request_id)

    async def _run_async(self, request: GatewayExecutorRequestData, target: Target) -> None:
        if self.loop.get_task_factory() is not None:
            # An eager one gets here at once: with a lock held, and before `_running` knows of it.
            await asyncio.sleep(0)
        outcome: Outcome | None = UNTOLD
        try:
            outcome = await self._outcome(request, target)
        except KeyboardInterrupt:
            raise
        except BaseException:  # what the user's objects did to our own handling of a failure
            self._log.untold(request)
        finally:
            self._report(request.request_id, outcome)

    def _ended(self, request_id: str, _task: asyncio.Task[None]) -> None:
        """A task that was cancelled before it began has reported nothing."""
        self._report(request_id, None)

    def _report(self, request_id: str, outcome: Outcome | None) -> None:
        """Give a call's outcome away, the first time."""
        if self._running.pop(request_id, None) is not None:
            self._unwanted.discard(request_id)
            self._finished(request_id, outcome)

    async def _outcome(self, request: GatewayExecutorRequestData, target: Target) -> Outcome | None:
        """What the call ended with; None if it was cancelled by us."""
        call: Call | None = None
        execution: Execution | None = None
        checkpointer: Checkpointer | None = None
        try:
            call = decode_call(request.request_payload)
            if call.ctx.use_api:
                call = await asyncio.wrap_future(self._on_protocol_loop(self._complete(call)))
            checkpointer = self._checkpointer(request, call, target)
            execution = execution_of(call, _step_id(request), checkpointer)
            ctx = context_of(call, execution, target.client, target.function)
            outcome = await self._run(execution, target, ctx, request.request_id)
            if outcome is None:
                return None
        except asyncio.CancelledError as error:  # no function has begun
            return None if request.request_id in self._unwanted else error_outcome(error)
        except Exception as error:  # a request that cannot be read, state that cannot be had
            outcome = _unreadable(error)
            self._log.unreadable(request, error, final=outcome.no_retry)
            return outcome
        finally:
            if checkpointer is not None:
                self._flush_clock.forget(checkpointer)
        self._log.ended(request, call, execution)
        return outcome

    async def _run(
        self, execution: Execution, target: Target, ctx: object, request_id: str
    ) -> Outcome | None:
        try:
            try:
                return await run_async(execution, target.function.handler, ctx)
            except asyncio.CancelledError as error:
                if request_id in self._unwanted:
                    return None
                # The function let one out that nobody asked for: a failure like any other.
                return await let_out(execution, error)
        except asyncio.CancelledError as error:
            return None if request_id in self._unwanted else execution.raised(error)

    # --- on a thread of the pool ---

    def _run_sync(self, request: GatewayExecutorRequestData, target: Target) -> None:
        outcome = UNTOLD
        try:
            outcome = self._outcome_sync(request, target)
        except BaseException:  # what the user's objects did to our own handling of a failure
            self._log.untold(request)
        finally:
            self._finished(request.request_id, outcome)

    def _outcome_sync(self, request: GatewayExecutorRequestData, target: Target) -> Outcome:
        """What the call ended with."""
        checkpointer: Checkpointer | None = None
        try:
            call = decode_call(request.request_payload)
            if call.ctx.use_api:
                call = self._on_protocol_loop(self._complete(call)).result()
            checkpointer = self._checkpointer(request, call, target)
            execution = execution_of(call, _step_id(request), checkpointer)
            ctx = context_sync_of(call, execution, target.client, target.function)
            outcome = run_sync(execution, target.function.handler, ctx)
            self._log.ended(request, call, execution)
        except Exception as error:  # a request that cannot be read, state that cannot be had
            outcome = _unreadable(error)
            self._log.unreadable(request, error, final=outcome.no_retry)
        finally:
            if checkpointer is not None:
                self._flush_clock.forget(checkpointer)
        return outcome

    # --- steps of calls that go on ---

    def _checkpointer(
        self, request: GatewayExecutorRequestData, call: Call, target: Target
    ) -> Checkpointer | None:
        config = target.function.checkpointing
        if config is None:
            return None
        request_id, run_id = request.request_id, call.ctx.run_id
        over_http: list[Send] = []  # made if the server takes none on the socket

        def send(number: int, steps: bytes, done: Callable[[Answer], None]) -> None:
            if self._checkpoint(request_id, run_id, number, steps, done):
                return
            if not over_http:
                over_http.append(http_send(target.client.settings, call))
            over_http[0](number, steps, done)

        checkpointer = Checkpointer(
            config,
            send=send,
            max_runtime_ms=config.max_runtime_ms(RUNTIME_MS),
            is_leaving=self._is_leaving,
        )
        if checkpointer.interval_s:
            self._flush_clock.watch(checkpointer)
        return checkpointer

    def _on_protocol_thread(self, callback: Callable[[], None]) -> None:
        assert self._protocol_loop is not None, "set before calls come"
        self._protocol_loop.call_soon_threadsafe(callback)

    # --- state that was too large to send ---

    def _on_protocol_loop(self, work: Coroutine[Any, Any, Call]) -> Future[Call]:
        assert self._protocol_loop is not None, "set before calls come"
        return asyncio.run_coroutine_threadsafe(work, self._protocol_loop)

    async def _complete(self, call: Call) -> Call:
        steps = await self._state.steps_of(call.ctx.run_id)
        events = call.events or await self._state.events_of(call.ctx.run_id)
        return msgspec.structs.replace(call, steps=steps, events=events)


def _step_id(request: GatewayExecutorRequestData) -> str | None:
    return request.step_id if request.HasField("step_id") else None


def _unreadable(error: Exception) -> Outcome:
    """What a call ends with that could not begin: another one may, unless the program says no."""
    return error_outcome(error, no_retry=isinstance(error, NonRetriableError))
