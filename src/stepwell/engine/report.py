"""What a worker's report of a call does to its run.

Source: docs/reference/wire/calls.md, "what a report does".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

import msgspec

from stepwell.engine.ops import HANDLERS, PENDING_KINDS, STEPLESS_KINDS
from stepwell.engine.rows import HistoryKind, RunStatus, StepKind
from stepwell.engine.state import OVER, Sleep
from stepwell.engine.timings import step_times
from stepwell.engine.turn import failure
from stepwell.engine.waits import is_known
from stepwell.wire.ids import UNTARGETED_STEP
from stepwell.wire.ops import STEP_ERROR, STEP_FAILED
from stepwell.wire.outcomes import Ops, Raised, Returned
from stepwell.wire.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stepwell.engine.state import Job, Run
    from stepwell.engine.turn import Turn
    from stepwell.wire.ids import RunId
    from stepwell.wire.ops import Op
    from stepwell.wire.outcomes import Outcome

FRUITLESS_MAX = 100
"""Reports in a row that finish no step and start no sleep: more would go on so for ever."""

EXECUTION_VERSION = 2

_STEP_PLANNED: Final = HistoryKind.STEP_PLANNED  # needed with each step


class _Mode(msgspec.Struct, rename="camel"):
    parallel_mode: str | None = None


_MODE = msgspec.json.Decoder(_Mode | None)


class Report:
    """One report being applied: the op modules ask and tell it."""

    def __init__(
        self,
        turn: Turn,
        run: Run,
        job: Job,
        *,
        event: Mapping[str, Any] | None = None,
        signals: Mapping[str, tuple[bytes, RunId]] | None = None,
    ) -> None:
        self.turn: Turn = turn
        self.run: Run = run
        self.event = event
        self.signals = signals or {}
        self._job = job
        assert job.request_id is not None, "the fence has accepted it"
        lease = turn.owner.leases.get(job.request_id)
        self._began_ms = job.sent_ms if lease is None else lease.began_ms
        self._retried = False
        self._apart = False  # each failed step of the report is tried again by itself
        self.is_fruitful = False
        self.no_retry = False
        self._retry_at_ms: int | None = None
        self._planned: set[str] | None = None
        self._times: Mapping[str, tuple[int, int]] = {}

    def apply(self, outcome: Outcome) -> None:
        """Do all that the outcome asks for. The report was accepted by the fence."""
        turn, run, job = self.turn, self.run, self._job
        turn.release(job)
        job.phase = OVER
        job.losses = 0
        turn.change(run)
        match outcome:
            case Returned():
                turn.remove_job(run, job)
                self.complete_run(outcome.output)
            case Raised():
                self._raised(outcome)
            case Ops():
                self._ops(outcome)
            case _:
                assert_never(outcome)

    # --- asked by the op modules ---

    @property
    def now_ms(self) -> int:
        return self.turn.now_ms

    @property
    def is_last_attempt(self) -> bool:
        """Whether this call may not be tried again."""
        return self._job.attempt + 1 >= self.turn.max_attempts(self.run)

    def complete_step(self, op: Op, kind: StepKind, data: bytes) -> None:
        """A step has its outcome. The first one stays."""
        run = self.run
        if op.id in run.steps:
            return
        self.is_fruitful = True
        times = self._times.get(op.id, (self._began_ms, self.turn.now_ms))
        position = self.turn.put_step(
            run,
            step_id=op.id,
            kind=kind,
            name=op.label,
            data=data,
            attempt=self._job.attempt,
            started_at_ms=times[0],
            ended_at_ms=times[1],
        )
        self.turn.finish_step(run, op.id, position)

    def retry_step(self, op: Op, error: bytes) -> None:
        """The step failed and its call is tried again."""
        if self._apart:
            self._retry_apart(op, error)
            return
        if self._retried:
            return
        if self._is_aimed and self._job.step_id in self.run.steps:
            # The call was aimed at a step that this report finished. The failed one is another:
            # the function will meet it again.
            self._put_failure(error, op)
            self.turn.discover(self.run, len(self.run.steps))
            return
        self._retried = True
        self._retry(error, op)

    def plan_step(self, op: Op) -> None:
        """Queue a call that is aimed at this step."""
        run = self.run
        if self._planned is None:
            aims = (job.step_id for job in run.state.jobs)
            self._planned = {UNTARGETED_STEP, self._job.step_id, *aims}
        if op.id in run.steps or op.id in self._planned:
            return
        state = run.state
        if (state.sleeps or state.waits) and is_known(run, op.id):
            return
        self._planned.add(op.id)
        self.turn.put_history(run, _STEP_PLANNED, op.id, 0, None, name=op.label)
        self.turn.add_job(run, op.id, self._job.current)

    def start_sleep(self, op: Op, due_ms: int) -> None:
        """Wait until then."""
        run = self.run
        if is_known(run, op.id):
            return
        self.is_fruitful = True
        sleep = Sleep(step_id=op.id, name=op.label, started_ms=self.turn.now_ms, due_ms=due_ms)
        run.state.sleeps.append(sleep)
        self.turn.put_history(
            run, HistoryKind.SLEEP_STARTED, op.id, 0, b"%d" % due_ms, name=op.label
        )
        self.turn.owner.timers.push(run, sleep)

    def request_discovery(self) -> None:
        """Call the function again."""
        self.turn.discover(self.run, self._job.current)

    def complete_run(self, output: bytes) -> None:
        """The function returned."""
        if not self.run.status.is_over:
            self.turn.end_run(self.run, RunStatus.COMPLETED, output)

    def fail_run(self, *, name: str, message: str) -> None:
        """The run cannot go on."""
        if not self.run.status.is_over:
            self.turn.fail_run(self.run, failure(name, message))

    # --- the kinds of outcome ---

    @property
    def _is_aimed(self) -> bool:
        return self._job.step_id != UNTARGETED_STEP

    def _raised(self, outcome: Raised) -> None:
        run, job = self.run, self._job
        if outcome.fatal or outcome.no_retry or self.is_last_attempt:
            self.turn.remove_job(run, job)
            self.turn.fail_run(run, outcome.error)
            return
        self._retry_at_ms = outcome.retry_at_ms
        self._retry(outcome.error, None)

    def _retry(self, error: bytes, op: Op | None) -> None:
        turn, run, job = self.turn, self.run, self._job
        self._put_failure(error, op)
        if not self._is_aimed:
            # A step of the same report may have queued the next call: this one takes its place.
            for other in list(run.state.jobs):
                if other is not job and other.step_id == UNTARGETED_STEP:
                    job.current = other.current
                    turn.remove_job(run, other)
        if all(other is not job for other in run.state.jobs):
            run.state.jobs.append(job)
        turn.retry(run, job, self._retry_at_ms)

    def _retry_apart(self, op: Op, error: bytes) -> None:
        """One of several steps that the function has begun together has failed: a call that is
        aimed at it makes the next attempt."""
        run = self.run
        self._put_failure(error, op)
        if op.id in run.steps or is_known(run, op.id):
            return
        job = self.turn.new_job(run, op.id, self._job.current)
        job.attempt = self._job.attempt
        self.is_fruitful = True
        self.turn.retry(run, job, self._retry_at_ms)

    def _put_failure(self, error: bytes, op: Op | None) -> None:
        # A failure belongs to the step that the call met, if it met one, else to the call.
        job = self._job
        step_id, name = (job.step_id, None) if op is None else (op.id, op.label)
        self.turn.put_history(
            self.run, HistoryKind.ATTEMPT_FAILED, step_id, job.attempt, error, name=name
        )

    def _ops(self, outcome: Ops) -> None:
        turn, run, job = self.turn, self.run, self._job
        state = run.state
        self.no_retry = outcome.no_retry
        self._retry_at_ms = outcome.retry_at_ms
        ops = outcome.ops
        if ops and state.version < 0:
            state.version = outcome.version if outcome.version > 0 else EXECUTION_VERSION
        turn.remove_job(run, job)
        self._times = step_times(ops, since_ms=self._began_ms, now_ms=turn.now_ms)
        again = False
        if not self._is_aimed:
            again, state.again = state.again, False
        kinds = [op.op for op in ops]
        is_pending = not PENDING_KINDS.isdisjoint(kinds)
        if len(kinds) > 1 and STEP_ERROR in kinds and not self._is_aimed:
            # Beside a step that failed for good too: its branch goes on, and a call that meets
            # several steps would only plan this one, with all its attempts.
            self._apart = is_pending or kinds.count(STEP_ERROR) > 1 or STEP_FAILED in kinds
        if is_pending or self._apart:
            steps = [op for op in ops if op.op not in STEPLESS_KINDS]
            if len(steps) > 1:
                state.plan_only = True
            for op in steps:
                if op.id not in run.steps:
                    state.pending[op.id] = _is_race(op)
        for op in ops:
            handler = HANDLERS.get(op.op)
            if handler is None:
                self.fail_run(
                    name="InngestErrUnsupportedOpcode",
                    message=f"step {quoted(op.label)} uses the operation {quoted(op.op)}, which "
                    "this server does not support",
                )
            else:
                handler(self, op)
            if run.status.is_over:
                return
        self._carry_on(again)

    def _carry_on(self, again: bool) -> None:
        """See to it that the run goes on, and that it gets somewhere."""
        turn, run, job = self.turn, self.run, self._job
        state = run.state
        if self._retried:
            turn.carry_on(run, job.current)
            turn.enforce_limits(run)
            return
        # The next call may come of more than what led to this one.
        current = len(run.steps) if again else job.current
        if self._is_aimed and job.step_id not in run.steps:
            # The call was aimed at a step and brought no outcome of it: the function must tell
            # again what it wants.
            state.pending.pop(job.step_id, None)
            again = True
        if not self.is_fruitful:
            state.fruitless += 1
            if state.fruitless > FRUITLESS_MAX:
                self.fail_run(
                    name="InngestErrNoProgress",
                    message=f"{FRUITLESS_MAX} calls in a row finished no step",
                )
                return
        else:
            state.fruitless = 0
        if again:
            turn.discover(run, current)
        turn.carry_on(run, current)
        turn.enforce_limits(run)


def _is_race(op: Op) -> bool:
    """Whether the function goes on as soon as this step is done (`opts.parallelMode`).

    The word is taken in any letter case: Go's SDK says `Race`.
    """
    opts = bytes(op.opts)
    if b"parallelMode" not in opts:
        return False
    try:
        mode = _MODE.decode(opts)
    except msgspec.DecodeError:
        return False
    return mode is not None and (mode.parallel_mode or "").lower() == "race"
