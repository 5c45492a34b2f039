"""Running a function for one request, on the loop, on a thread beside it, or where we stand.

What a call means is decided by `execution.py`, as over Connect.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import Future
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeAlias

from stepwell.calling import context_of, context_sync_of, execution_of
from stepwell.connect.failures import FailureLog
from stepwell.connect.threads import ThreadPool
from stepwell.errors import NonRetriableError
from stepwell.execution import let_out, run_async, run_sync
from stepwell.outcome import UNTOLD, Outcome, error_outcome
from stepwell.reporting import served_checkpointer, watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.client import Client
    from stepwell.serve.api import ServerApi
    from stepwell.serve.orders import CallOrder

Around: TypeAlias = "Callable[[Callable[[], Outcome]], Outcome]"
"""Runs a job on a thread of ours, with what a framework needs round it."""


class CallRunner:
    """Runs the calls of one app.

    Args:
        threads_max: For sync functions of `run`; 0 runs them on the loop.
        around: For sync functions on those threads.
    """

    def __init__(
        self, client: Client, api: ServerApi, *, threads_max: int, around: Around | None = None
    ) -> None:
        self._client = client
        self._api = api
        self._threads_max = threads_max
        self._around: Around = around or (lambda job: job())
        self._pool: ThreadPool | None = None
        self._pool_process = 0
        self._log = FailureLog(logging.getLogger("stepwell.serve"))

    async def run(self, order: CallOrder) -> Outcome:
        """Run a function on the current loop if it is async, else on a thread.

        Raises:
            asyncio.CancelledError: Nobody wants the outcome any more.
        """
        if order.function.is_async:
            return await self._run_async(order)
        if self._threads_max == 0:
            return self._run_sync_function(order)
        return await self._on_thread(order)

    def run_here(self, order: CallOrder) -> Outcome:
        """Run a function on this thread, which has no running loop; an async one on a new loop."""
        if order.function.is_async:
            return asyncio.run(self._run_async(order))
        return self._run_sync_function(order)

    def _unreadable(self, order: CallOrder, error: Exception) -> Outcome:
        """What a call ends with that could not begin: another may, unless the program says no."""
        final = isinstance(error, NonRetriableError)
        self._log.unreadable(order, error, final=final)
        return error_outcome(error, no_retry=final)

    # --- async functions ---

    async def _run_async(self, order: CallOrder) -> Outcome:
        outcome = UNTOLD
        try:
            outcome = await self._outcome(order)
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise
        except BaseException:  # what the user's objects did to our own handling of a failure
            self._log.untold(order)
        return outcome

    async def _outcome(self, order: CallOrder) -> Outcome:
        checkpointing = order.function.checkpointing
        try:
            call = order.call
            if call.ctx.use_api:
                call = await asyncio.wrap_future(self._api.complete(call))
            checkpointer = served_checkpointer(checkpointing, self._client.settings, call)
            execution = execution_of(call, order.step_id or None, checkpointer)
            ctx = context_of(call, execution, self._client, order.function)
        except Exception as error:  # an event that cannot be read, state that cannot be had
            return self._unreadable(order, error)
        with watched(checkpointer):
            try:
                outcome = await run_async(execution, order.function.handler, ctx)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # The function let one out that nobody asked for: a failure like any other.
                outcome = await let_out(execution, error)
        self._log.ended(order, call, execution)
        return outcome

    # --- sync functions ---

    async def _on_thread(self, order: CallOrder) -> Outcome:
        future: Future[Outcome] = Future()
        context = copy_context()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return  # nobody waits for it any more
            try:
                run = lambda: self._run_sync_function(order)  # noqa: E731 - one expression
                future.set_result(context.run(self._around, run))
            except BaseException as error:  # what was put around it failed
                future.set_exception(error)

        try:
            self._threads().submit(job)
        except RuntimeError as error:  # the system has no more threads, and the pool none
            self._log.unreadable(order, error)
            return error_outcome(error, no_retry=False)
        try:
            return await asyncio.wrap_future(future)
        except Exception as error:
            self._log.unreadable(order, error)
            return error_outcome(error, no_retry=False)

    def _threads(self) -> ThreadPool:
        """The pool, of this process: threads do not survive a fork."""
        if self._pool is None or self._pool_process != os.getpid():
            self._pool = ThreadPool(self._threads_max)
            self._pool_process = os.getpid()
        return self._pool

    def _run_sync_function(self, order: CallOrder) -> Outcome:
        outcome = UNTOLD
        interrupts: list[KeyboardInterrupt] = []
        try:
            outcome = self._outcome_sync(order, interrupts)
        except BaseException:  # what the user's objects did to our own handling of a failure
            self._log.untold(order)
        if interrupts and threading.current_thread() is threading.main_thread():
            raise interrupts[0]
        return outcome

    def _outcome_sync(self, order: CallOrder, interrupts: list[KeyboardInterrupt]) -> Outcome:
        handler: Callable[[Any], Any] = order.function.handler

        def interruptible(ctx: object) -> Any:
            try:
                return handler(ctx)
            except KeyboardInterrupt as interrupt:  # on the main thread it is the program's
                interrupts.append(interrupt)
                raise

        try:
            call = order.call
            if call.ctx.use_api:
                call = self._api.complete(call).result()
            checkpointing = order.function.checkpointing
            checkpointer = served_checkpointer(checkpointing, self._client.settings, call)
            execution = execution_of(call, order.step_id or None, checkpointer)
            ctx = context_sync_of(call, execution, self._client, order.function)
        except Exception as error:  # an event that cannot be read, state that cannot be had
            return self._unreadable(order, error)
        with watched(checkpointer):
            outcome = run_sync(execution, interruptible, ctx)
        self._log.ended(order, call, execution)
        return outcome
