"""What one call of a function means: memoised steps and user code in, one outcome out.

Nothing here does I/O. `Execution` answers, for every step that the user's code meets, whether the
result is remembered, whether the step runs now, or whether it is only reported; the twin step
objects in `step.py` ask it, and `run_async` / `run_sync` drive the user's function under it.

House rules:

1. User code is left by raising `Interrupt`, which is not an `Exception`, so `except Exception`
   round a step does not swallow it. If a bare `except` does, every later step interrupts again
   and what was recorded stands.
2. What was recorded (an op, or a fatal misuse) wins over what the user's code then returned or
   raised.

Source: docs/reference/wire/http-sdk.md, "outcomes" and "steps".
"""

from __future__ import annotations

import asyncio
import inspect
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from stepwell.branches import StepIds, Turns
from stepwell.checkpointer import Answer
from stepwell.codec import restore, serialise
from stepwell.error_text import message_of
from stepwell.errors import (
    ConfigError,
    NonRetriableError,
    RetryAfterError,
    StepwellError,
)
from stepwell.interrupt import Interrupt, is_interrupt
from stepwell.memo import read_memo, step_error
from stepwell.outcome import (
    Failure,
    Outcome,
    error_name,
    error_outcome,
    is_final,
    retry_after_text,
    stack_text,
)
from stepwell.wire import ops as op_names
from stepwell.wire.ids import RUN_COMPLETE_STEP, UNTARGETED_STEP, hash_step_id
from stepwell.wire.ops import OPS_PER_RESPONSE_MAX, Op, OpError, Userland

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence

    from stepwell.checkpointer import Checkpointer

EXECUTION_VERSION: Final = 2
STEP_OUTPUT_BYTES_MAX: Final = 4 * 2**20
UNREPORTED_BYTES_MAX: Final = 32 * 2**10  # What a result may bring of steps.
RESULT_BYTES_MAX: Final = 8 * 2**20 - 64 * 2**10  # The socket's 8 MiB, less room for the envelope.

# The server leaves out what is more than this, so nothing waits for it to be taken.
DEFERS_MAX: Final = 20
DEFER_BYTES_MAX: Final = 4 * 2**20

MISSING: Final = object()
"""The answer of `Execution.recall` for a step that has no result yet."""


class StepName(msgspec.Struct, frozen=True):
    """One use of a step id: the wire id, the user's id, and how often it was used before."""

    hashed: str
    id: str
    index: int


class Kept(msgspec.Struct, frozen=True):
    """A step that was finished in a call that goes on.

    Attributes:
        data: Its value as JSON.
        ticket: What to wait for before the call goes on; None: for nothing.
    """

    data: bytes
    ticket: int | None

    def value(self, output_type: Any) -> Any:
        """What the step gives: as it will be remembered, read from JSON."""
        value = msgspec.json.decode(self.data)
        return value if output_type is None else restore(value, output_type)


class GroupMark(msgspec.Struct, frozen=True):
    """Where a call stood when a group was opened, so that the group can be run again.

    Attributes:
        uses: Which step ids were used.
        riders: How many operations were to ride along.
    """

    uses: dict[str, int]
    riders: int


_ENCODER = msgspec.json.Encoder()
_hash_step_id = lru_cache(maxsize=4096)(hash_step_id)  # by one text, which is its quickest key

# Set while a step's body runs, so that a step inside a step is found out; a ContextVar, because
# steps of sibling tasks are not inside one another.
_inside: ContextVar[Execution | None] = ContextVar("stepwell_step_body", default=None)


class Execution:
    """The state of one call.

    Args:
        steps: Remembered results by wire id, as JSON.
        target: The wire id of the only step that may run; `step` or None when any may.
        attempt: 0 for the first.
        max_attempts: Of this job.
        plan_only: Report new steps instead of running one (`disable_immediate_execution`).
        stack: The wire ids of the remembered steps, in the order of their ends.
        deferred: The wire ids of what was deferred already.
        checkpointer: Takes finished steps, so that the call goes on after them.
    """

    def __init__(
        self,
        *,
        steps: Mapping[str, msgspec.Raw],
        target: str | None = None,
        attempt: int = 0,
        max_attempts: int = 1,
        plan_only: bool = False,
        stack: Sequence[str] = (),
        deferred: Collection[str] = (),
        checkpointer: Checkpointer | None = None,
    ) -> None:
        self._steps = steps
        self._stack = stack
        self._deferred = deferred
        self._riders: list[Op] = []
        self._withdrawn: set[str] = set()
        self.target: Final = None if target in (None, "", UNTARGETED_STEP) else target
        self._last_attempt = attempt + 1 >= max_attempts
        self._plan_only = plan_only
        # A call that is a second attempt, or for one step, ends with that step: the next one then
        # has all its attempts, whichever server counts them.
        goes_on = self.target is None and not plan_only and attempt == 0
        self._checkpointer = checkpointer if goes_on else None
        self._others_go_on = checkpointer is not None  # calls of this run, if not this one
        self._uses: dict[str, int] = {}  # by every text that names a step: its next index
        self._ops: list[Op] = []
        self._no_retry = False
        self._retry_after: str | None = None
        self._fatal: StepwellError | None = None
        self._lost = False  # the fatal misuse is a step that was not awaited
        self.closed = False
        """Whether the outcome is already decided."""
        self._groups_open = 0
        self.owed: int | None = None
        """The ticket of the last step that was kept, if nobody has waited for it yet."""
        self._step_ids: StepIds | None = None  # in groups whose branches may run together
        self.turns: Turns | None = None
        """In groups of a sync function whose branches run together: whose turn it is."""
        self._only: str | None = None  # on the second pass of a group: the one step that runs
        self._races = 0  # groups open whose branches do not wait for one another
        self._plans = 0  # and those of them whose steps are only planned
        self._inputs: dict[str, list[Any]] = {}
        self._busy = False
        self._idle: asyncio.Event | None = None
        self._recalled = False
        self._failure: Failure | None = None
        self.departures = 0
        """How often a step has made user code leave some block, by `Interrupt` or `StepError`."""
        self.latest = -1
        """In a race: the place in the stack of the last step that the present branch recalled."""
        self.trailed = False
        """Whether a race has steps that it does not wait for, or may not in the end."""
        self.watches = self.target is None
        """Whether steps that nobody awaits are looked for. A run ends by a call that is for no
        step in particular, and that one passes all that others have passed but bodies of steps."""
        self.offered: tuple[Coroutine[Any, Any, Any], object] | None = None
        """Without `watches`: the last step that was called, and its id. See `passes`."""

    # --- asked by the step objects ---

    def meet(self, step_id: str, *, rides: bool = False) -> StepName:
        """Name the step that user code has reached.

        Args:
            rides: It is only recorded, whatever this call is for.
        Raises:
            Interrupt: The call is over, or it is for another step and this one has no result.
            NonRetriableError: `step_nested`, inside the body of another step.
            ConfigError: The id is not one.
        """
        if self.closed:
            raise Interrupt
        if _inside.get() is self:
            error = NonRetriableError(
                f"step {step_id!r} was called inside another step; a step's body cannot contain "
                "steps: call it from the function instead"
            )
            error.code = "step_nested"
            self._fatal = error
            raise error
        if not isinstance(step_id, str) or not step_id:
            raise ConfigError(f"a step id is a text that is not empty, this is {step_id!r}")
        if self._step_ids is not None:
            self._check_use(self._step_ids, step_id)
        uses = self._uses
        index, text = 0, step_id
        if step_id in uses:
            index = uses[step_id]
            while (text := f"{step_id}:{index}") in uses:  # the program uses such an id itself
                index += 1
            uses[text] = 1
        uses[step_id] = index + 1
        hashed = _hash_step_id(text)
        if (
            self.target is not None
            and hashed != self.target
            and hashed not in self._steps
            and not rides
        ):
            # A call for one step of many walks past all the others: nothing is made for those.
            self.departures += 1
            raise Interrupt
        return StepName(hashed, step_id, index)

    def _check_use(self, step_ids: StepIds, step_id: str) -> None:
        try:
            step_ids.used(step_id)
        except ConfigError as error:  # whatever the function makes of it: results may be mixed up
            self._fatal = error
            raise

    def passes(self, pending: object) -> bool:
        """Whether a branch that gave this is over: it is a step that this call has nothing for.

        Then the step is met and closed: what `meet` would decide, without starting it and leaving
        it again, as a call for one step of many passes all the others.
        """
        if self.offered is None:
            return False
        coroutine, step_id = self.offered
        if (
            coroutine is not pending
            or self.closed
            or not isinstance(step_id, str)
            or not step_id
            or step_id in self._uses
            or (hashed := _hash_step_id(step_id)) == self.target
            or hashed in self._steps
        ):
            return False
        if self._step_ids is not None:
            self._check_use(self._step_ids, step_id)
        self._uses[step_id] = 1
        self.departures += 1
        coroutine.close()
        return True

    def recall(self, name: StepName, output_type: Any = None) -> Any:
        """The remembered result, or `MISSING`.

        Raises:
            Interrupt: There is none, and this call is for another step.
            StepError: The step failed for good.
        """
        raw = self._steps.get(name.hashed)
        if raw is not None:
            self._recalled = True
            if self._races:
                self.latest = max(self.latest, self._ended_at(name.hashed))
            memo = read_memo(raw)
            if memo.error is not msgspec.UNSET:
                self.departures += 1
                raise step_error(memo.error)
            if memo.input is msgspec.UNSET:
                return memo.data if output_type is None else restore(memo.data, output_type)
            self._inputs[name.hashed] = memo.input
        if self.target is not None and name.hashed != self.target:
            self.departures += 1
            raise Interrupt
        return MISSING

    def arguments(self, name: StepName, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """The step's arguments, unless the run was restarted from this step with others."""
        return tuple(self._inputs[name.hashed]) if name.hashed in self._inputs else given

    def begin(self, name: StepName, step_type: str) -> None:
        """Return if the body of this new step runs now; otherwise report it and leave.

        Raises:
            Interrupt: The step was recorded as planned, or the server takes no more of this call.
        """
        self._go_on()
        if self.target is None and self._only_plans(name):
            self.report(name, op_names.STEP_PLANNED, opts=_type_opts(step_type))
        self._busy = not self.runs_together or not self._groups_open
        self.watches = True
        self.offered = None  # inside the body, it would be a nested step

    def _only_plans(self, name: StepName) -> bool:
        checkpointer = self._checkpointer
        if checkpointer is not None and checkpointer.should_end:
            return True
        if self.runs_together:
            return False
        return self._plan_only or (self._groups_open > 0 and name.hashed != self._only)

    def defer(self, name: StepName, opts: msgspec.Raw) -> None:
        """Record a deferred function, beside whatever this call reports, unless it is known."""
        if name.hashed not in self._deferred:
            self._riders.append(_op(name, op_names.DEFER_ADD, opts=opts))

    def withdraw(self, name: StepName, deferred: str, opts: msgspec.Raw) -> None:
        """Record that a deferred function, by its wire id, does not start after all."""
        self._withdrawn.add(deferred)
        self._riders.append(_op(name, op_names.DEFER_ABORT, opts=opts))

    def report(
        self, name: StepName, op: str, *, legacy_name: str = "", opts: msgspec.Raw | None = None
    ) -> NoReturn:
        """Record a step that the server performs or schedules, and leave.

        Raises:
            Interrupt: Always.
        """
        if self._races:
            opts = _with_race(opts)
        self._ops.append(_op(name, op, legacy_name=legacy_name, opts=opts))
        if not self._groups_open:
            self.closed = True
        self.departures += 1
        raise Interrupt

    def succeeded(
        self,
        name: StepName,
        step_type: str,
        value: object,
        *,
        durable: bool = False,
        started_ns: int = 0,
    ) -> Kept | None:
        """Record the value that a step's body returned.

        Args:
            started_ns: When it began, since the epoch, if `runs_together`.
            durable: If the call goes on, then only when the server has this step.
        Returns:
            The step, if the call goes on: wait for its ticket. None: the call is over, or in a
            group this branch of it.
        """
        try:
            data = serialise(value, f"the result of step {name.id!r}")
        except StepwellError as error:
            self.failed(name, error)
            return None
        if len(data) > STEP_OUTPUT_BYTES_MAX:
            self.failed(name, _too_large("step's output", len(data), STEP_OUTPUT_BYTES_MAX))
            return None
        opts = _type_opts(step_type)
        op = _op(name, op_names.STEP_RUN, data=msgspec.Raw(data), opts=opts)
        if not self.runs_together or self._fatal is not None or self.closed:
            self._ops.append(op)
            self._close()
            return None
        assert self._checkpointer is not None, "or steps do not run together"
        self._end_body()
        # The server sees only when a report comes, which may be long after, and with others.
        took_ns = time.time_ns() - started_ns
        op = msgspec.structs.replace(
            op, timing=msgspec.Raw(b'{"a":%d,"b":%d}' % (started_ns, max(took_ns, 0)))
        )
        return Kept(data, self._checkpointer.add(_ENCODER.encode(op), durable=durable))

    def owe(self, ticket: int) -> None:
        """A step was kept, and is on its way to the server: the next body waits for it. What the
        program does between two steps takes place meanwhile."""
        assert self._checkpointer is not None, "which gave the ticket"
        self.owed = ticket
        self._checkpointer.start()

    async def committed(self, ticket: int) -> None:
        """Wait until the server has a step that was kept.

        Raises:
            Interrupt: It does not take it: the call is over.
        """
        assert self._checkpointer is not None, "which gave the ticket"
        await self._checkpointer.wait(ticket, gather=self._groups_open > 0)
        if self.owed == ticket:
            self.owed = None
        self._go_on()

    def committed_sync(self, ticket: int) -> None:
        """As `committed`, for a sync function."""
        assert self._checkpointer is not None, "which gave the ticket"
        if self.turns is None:
            self._checkpointer.wait_sync(ticket)
        else:
            with self.turns.pause():
                self._checkpointer.wait_sync(ticket)
        if self.owed == ticket:
            self.owed = None
        self._go_on()

    @property
    def waits_at_once(self) -> bool:
        """Whether a step that is kept is waited for where it ends: in groups each branch waits for
        its own steps only."""
        return self._groups_open > 0

    def _go_on(self) -> None:
        if self._checkpointer is not None and self._checkpointer.ended is not None:
            self.close()
        if self.closed:
            self.departures += 1
            raise Interrupt

    @property
    def runs_together(self) -> bool:
        """Whether finished steps are kept, so that the call goes on after them."""
        return self._checkpointer is not None and not self._plans and self._only is None

    @property
    def counts_uses(self) -> bool:
        """Whether branches of the open groups run together in some call of this run."""
        return self._step_ids is not None and not self._plans

    def failed(self, name: StepName, error: Exception) -> None:
        """Record what a step's body raised: retried, or final and catchable by the function."""
        if self._fatal is None:
            final = is_final(error)
            self._no_retry = final
            if isinstance(error, RetryAfterError) and not self._last_attempt:
                self._retry_after = retry_after_text(error.retry_after)
            body = OpError(
                name=error_name(error),
                message=message_of(error),
                stack=stack_text(error),
                no_retry=final or None,
            )
            op = op_names.STEP_FAILED if final or self._last_attempt else op_names.STEP_ERROR
            self._ops.append(_op(name, op, error=msgspec.Raw(_ENCODER.encode(body))))
            self._failure = Failure(error=error, step_id=name.id, final=final or self._last_attempt)
        if self.runs_together and self._groups_open and self._fatal is None:
            # The other branches go on. Which of several steps is final, each operation tells.
            self._no_retry = False
            self._end_body()
        else:
            self._close()

    def abandoned(self) -> None:
        """The body of a step was left without a result: cancelled, or the process is ending.

        Nothing is recorded, and the function may go on to other steps.
        """
        self.departures += 1
        self._end_body()

    def _end_body(self) -> None:
        self._busy = False
        if self._idle is not None:
            self._idle.set()
            self._idle = None

    def not_awaited(self, method: str, step_id: object, departures: int) -> None:
        """A step was called and thrown away. Called by a finaliser.

        Args:
            departures: What `departures` was at the call. If it is more now, a step may have made
                user code leave before it came to the `await`.
        """
        if self.closed or departures != self.departures:
            return
        if step_id is None:
            text = f"ctx.{method} was called without `await`; write `await ctx.{method}(...)`"
        else:
            text = (
                f"step {step_id!r} was called without `await`, so it would never run; write "
                f"`await ctx.{method}({step_id!r}, ...)`"
            )
        self._fatal = StepwellError(text, code="step_not_awaited")
        self._lost = self.closed = True

    @property
    def busy(self) -> bool:
        """Whether a step's body runs now. One call runs one body at a time."""
        return self._busy

    async def turn(self) -> None:
        """Wait until no step's body runs, for a step of a sibling task.

        Raises:
            Interrupt: The body that ran decided the call.
        """
        while self._busy:
            if self._idle is None:
                self._idle = asyncio.Event()
            await self._idle.wait()
        if self.closed:
            raise Interrupt

    # --- asked by the group objects ---

    def open_group(self, *, race: bool = False, plans: bool = False) -> GroupMark | None:
        """Enter a group: new steps are gathered until the outermost group closes.

        Args:
            race: The function is called again as soon as one of the steps is over.
            plans: And goes on then, so that its branches do not run together in one call.
        Returns:
            For the outermost group, what `repeat_group` needs; None for a group inside one.
        """
        if self.closed:
            raise Interrupt
        self._groups_open += 1
        self._races += race
        self._plans += plans
        if self._groups_open > 1:
            return None
        if self._others_go_on:
            self._step_ids = StepIds()
        return GroupMark(dict(self._uses), len(self._riders))

    def leave_group(self, *, race: bool = False, plans: bool = False) -> None:
        """Leave it, however its branches ended."""
        self._groups_open -= 1
        self._races -= race
        self._plans -= plans
        if not self._groups_open:
            self._step_ids = self.turns = None

    @property
    def gathered(self) -> int:
        """How many new steps were recorded."""
        return len(self._ops)

    def drop_gathered(self, count: int) -> None:
        """Forget the new steps behind the first so many: a race was over without them."""
        del self._ops[count:]

    def repeat_group(self, mark: GroupMark | None) -> bool:
        """Whether the branches are to be run again so that their only new step can run at once.

        It is met a second time, rather than run after its branch was left, so that its body runs
        inside the `with` blocks that surround it. Steps before it that an inner race has dropped
        are met again too, and again do not run.
        """
        if (
            mark is None
            or self.runs_together  # the steps that ran would not be remembered
            or self._only is not None
            or self._plan_only
            or self.target is not None
            or len(self._ops) != 1
            or self._ops[0].op != op_names.STEP_PLANNED
        ):
            return False
        self._only = self._ops[0].id
        self._ops.clear()
        self._uses = dict(mark.uses)
        del self._riders[mark.riders :]
        return True

    def end_second_pass(self) -> None:
        """From here on, groups gather again."""
        self._only = None

    def close(self) -> None:
        """Make every later step interrupt: the call was decided, or cancelled."""
        self.closed = True
        self.offered = None  # whose frame may hold this in turn

    # --- asked by the drivers ---

    def unsettled(self, *, raised: bool) -> tuple[Checkpointer, bool] | None:
        """What is to be settled before the outcome is asked for, and whether all of it must be
        stored: what remains can leave with the function's result, and with nothing else."""
        checkpointer = self._checkpointer
        if checkpointer is None:
            return None
        flush = raised or self.closed or bool(self._ops) or self._fatal is not None
        return checkpointer, flush or checkpointer.unreported_bytes > UNREPORTED_BYTES_MAX

    def returned(self, value: object) -> Outcome:
        """The outcome when the function returned."""
        if (recorded := self._recorded()) is not None:
            return recorded
        if self.target is not None:
            return self._target_not_met()
        if inspect.iscoroutine(value):
            value.close()
            return self._fail(
                StepwellError(
                    "the function returned a coroutine instead of its result; declare it with "
                    "`async def` and write `return await ...`",
                    code="step_not_awaited",
                )
            )
        try:
            body = serialise(value, "the function's result")
        except StepwellError as error:
            return self._fail(error)
        if len(body) > RESULT_BYTES_MAX:
            return self._fail(_too_large("function's result", len(body), RESULT_BYTES_MAX))
        unreported = self._unreported()
        if len(body) + sum(map(len, unreported)) > RESULT_BYTES_MAX and unreported:
            return self._told(unreported)  # and the result with the next call
        if self._riders or unreported:
            name = StepName(RUN_COMPLETE_STEP, "complete", 0)
            complete = _op(name, op_names.RUN_COMPLETE, data=msgspec.Raw(body))
            return self._told([*unreported, complete])
        return Outcome(kind="result", body=body)

    def raised(self, error: BaseException) -> Outcome:
        """The outcome when the function raised, or was left by `Interrupt`."""
        interrupted = is_interrupt(error)
        if self._lost and not interrupted and not self._ops:
            return self._fail(error)  # it may be why the step never came to be awaited
        if (recorded := self._recorded()) is not None:
            return recorded
        if interrupted:
            return self._target_not_met()
        return self._fail(error)

    # --- asked for the worker's log ---

    def take_failure(self) -> Failure | None:
        """What went wrong, once: the error's traceback holds all that the function held."""
        failure, self._failure = self._failure, None
        return failure

    def strayed(self) -> str | None:
        """The id of a new step, if the function met none of the remembered ones before it.

        Step ids that change from call to call, such as random ones, look like this. A call for
        one step of a group may rightly pass no other.
        """
        if self._ops and self._steps and not self._recalled and self.target is None:
            return self._ops[0].display_name
        return None

    @property
    def remembered_count(self) -> int:
        """How many results were sent with this call."""
        return len(self._steps)

    def _fail(self, error: BaseException, *, no_retry: bool | None = None) -> Outcome:
        """The outcome for an error of the function.

        With an error nothing rides along. What must not be lost is told alone, and the server's
        next call, which brings it, meets the error again.
        """
        if self._owes():
            return Outcome(kind="ops", body=_ENCODER.encode(self._riders))
        outcome = error_outcome(error, no_retry=no_retry)
        self._failure = Failure(
            error=error, step_id=None, final=outcome.no_retry or self._last_attempt
        )
        return outcome

    def _unreported(self) -> list[msgspec.Raw]:
        """The steps that were kept and that the server does not have."""
        checkpointer = self._checkpointer
        return [] if checkpointer is None else list(map(msgspec.Raw, checkpointer.unreported))

    def _recorded(self) -> Outcome | None:
        self.close()
        if self._checkpointer is not None:
            if self._checkpointer.ended is Answer.STALE:
                return error_outcome(
                    StepwellError(
                        "the server has given this call to another worker, or its run is over",
                        code="call_stale",
                    ),
                    no_retry=True,
                )
            if unreported := self._must_tell():
                return self._told(unreported)
        if self._fatal is not None:
            return self._fail(self._fatal, no_retry=True)
        if not self._ops:
            return None
        # The server calls again when all steps are over, but for those that say that they race.
        # What a race leaves behind must hold up nothing, so all that is reported says so.
        return self._told(list(map(_in_race, self._ops)) if self.trailed else self._ops)

    def _must_tell(self) -> list[msgspec.Raw]:
        """The steps that could not be stored while the call went on. They are its outcome; what
        it wanted beside them, and those for which it has no room, the next call meets again."""
        assert self._checkpointer is not None, "asked by `_recorded`"
        if self._checkpointer.ended is None:
            return []
        told: list[msgspec.Raw] = []
        room = RESULT_BYTES_MAX - len(_ENCODER.encode(self._riders))
        for op in self._unreported()[: OPS_PER_RESPONSE_MAX - len(self._riders)]:
            room -= memoryview(op).nbytes + 1
            if room < 0:
                break
            told.append(op)
        return told

    def _told(self, ops: Sequence[Op | msgspec.Raw]) -> Outcome:
        """The outcome for operations, and those that ride along."""
        ops = [*self._riders, *ops]
        if len(ops) > OPS_PER_RESPONSE_MAX:
            error = StepwellError(
                f"one group may add {OPS_PER_RESPONSE_MAX} steps at a time, this one adds "
                f"{len(ops)}; split it into several groups",
                code="ops_too_many",
            )
            return self._fail(error)
        body = _ENCODER.encode(ops)
        if len(body) > RESULT_BYTES_MAX:
            error = StepwellError(
                f"what a call reports of its steps may have {RESULT_BYTES_MAX} bytes, this has "
                f"{len(body)}; use shorter step ids, or split the group into several",
                code="output_too_large",
            )
            return self._fail(error)
        return Outcome(
            kind="ops",
            body=body,
            no_retry=self._no_retry,
            retry_after=self._retry_after,
        )

    def _owes(self) -> bool:
        """Whether something that rides along changes what starts at the run's end."""
        if self.target is not None or not self._riders:
            return False
        known = self._deferred
        added = [op for op in self._riders if op.op == op_names.DEFER_ADD]
        fresh = any(op.id not in self._withdrawn for op in added)
        return (
            (fresh or not self._withdrawn.isdisjoint(known))
            and len(known) + len(added) <= DEFERS_MAX
            and len(self._riders) <= OPS_PER_RESPONSE_MAX
            and sum(memoryview(op.opts).nbytes for op in added) <= DEFER_BYTES_MAX
        )

    def _target_not_met(self) -> Outcome:
        return self._fail(
            StepwellError(
                "the server asked for one step and the function did not reach it; code that "
                "decides which steps run must decide the same each time",
                code="step_unexpected",
            )
        )

    def _ended_at(self, hashed: str) -> int:
        """The place of a remembered step in the order in which steps ended."""
        try:
            return self._stack.index(hashed)
        except ValueError:  # a server that does not say
            return -1

    def _close(self) -> None:
        self.closed = True
        self.abandoned()


def _op(
    name: StepName,
    op: str,
    *,
    legacy_name: str = "",
    opts: msgspec.Raw | None = None,
    data: msgspec.Raw | None = None,
    error: msgspec.Raw | None = None,
) -> Op:
    return Op(
        op=op,
        id=name.hashed,
        name=legacy_name or name.id,
        display_name=name.id,
        opts=opts or _NULL,
        data=data or _NULL,
        error=error,
        userland=Userland(id=name.id, index=name.index or None),
    )


_OVER: Final = frozenset({op_names.STEP_RUN, op_names.STEP_ERROR, op_names.STEP_FAILED})


def _in_race(op: Op) -> Op:
    return op if op.op in _OVER else msgspec.structs.replace(op, opts=_with_race(op.opts))


def _with_race(opts: msgspec.Raw | None) -> msgspec.Raw:
    fields = {} if opts is None else msgspec.json.decode(opts, type=dict[str, msgspec.Raw] | None)
    return msgspec.Raw(_ENCODER.encode({**(fields or {}), "parallelMode": "race"}))


class StepBody:
    """A `with` block round a step's body, so that a step inside it is recognised."""

    __slots__ = ("_execution", "_token")

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def __enter__(self) -> None:
        self._token = _inside.set(self._execution)

    def __exit__(self, *_exc: object) -> None:
        _inside.reset(self._token)


async def run_async(
    execution: Execution, handler: Callable[[Any], Awaitable[Any]], ctx: object
) -> Outcome:
    """Run an async function under `execution` on the current loop.

    Raises:
        asyncio.CancelledError: The call was cancelled, or the function let one out; the caller
            knows which, and reports the second with `let_out`.
    """
    try:
        value = await handler(ctx)
    except (KeyboardInterrupt, asyncio.CancelledError):
        execution.close()
        raise
    except BaseException as error:  # Interrupt, also inside a BaseExceptionGroup; SystemExit
        await _settle(execution, raised=True)
        return execution.raised(error)
    await _settle(execution)
    return execution.returned(value)


async def let_out(execution: Execution, error: asyncio.CancelledError) -> Outcome:
    """The outcome when the function let out a cancellation that nobody asked for: a failure.

    Raises:
        asyncio.CancelledError: Now the call was cancelled.
    """
    await _settle(execution, raised=True)
    return execution.raised(error)


async def _settle(execution: Execution, *, raised: bool = False) -> None:
    if (unsettled := execution.unsettled(raised=raised)) is not None:
        checkpointer, flush = unsettled
        await checkpointer.settle(flush=flush)


def run_sync(execution: Execution, handler: Callable[[Any], Any], ctx: object) -> Outcome:
    """Run a sync function under `execution` on the current thread."""
    try:
        value = handler(ctx)
    except BaseException as error:  # Interrupt is not an Exception; SystemExit ends only the call
        _settle_sync(execution, raised=True)
        return execution.raised(error)
    _settle_sync(execution)
    return execution.returned(value)


def _settle_sync(execution: Execution, *, raised: bool = False) -> None:
    if (unsettled := execution.unsettled(raised=raised)) is not None:
        checkpointer, flush = unsettled
        checkpointer.settle_sync(flush=flush)


_NULL = msgspec.Raw(b"null")


@lru_cache(maxsize=64)
def _type_opts(step_type: str) -> msgspec.Raw:
    return msgspec.Raw(_ENCODER.encode({"type": step_type}))


def _too_large(what: str, seen: int, limit: int) -> StepwellError:
    return StepwellError(
        f"a {what} may have {limit} bytes of JSON, this has {seen}; store it elsewhere and "
        "return a reference",
        code="output_too_large",
    )
