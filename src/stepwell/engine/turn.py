"""One turn of a partition: what it changes in memory, and the rows and orders that come of it.

A run that changed many times in a turn is written once, at the end. Everything that starts, ends
or moves a run goes through here, so that memory and rows say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from stepwell.engine.effects import Dispatch, Request, RunEnded, Withdraw
from stepwell.engine.ending import put_ending
from stepwell.engine.retry import retry_delay_ms
from stepwell.engine.rows import (
    DeleteLive,
    DeleteRequestSecrets,
    DeleteWatch,
    HistoryKind,
    PutHistory,
    PutRun,
    PutStep,
    PutWatch,
    RunStatus,
    StepKind,
    UpdateRun,
    WatchKind,
)
from stepwell.engine.state import LEASED, OVER, Deadline, Job, Phase, Run, Sleep, Wait, WaitKind
from stepwell.wire.ids import UNTARGETED_STEP, RequestId, RunId

if TYPE_CHECKING:
    from stepwell.engine.catalog import Catalog
    from stepwell.engine.effects import Order
    from stepwell.engine.errands import Errand, Errands
    from stepwell.engine.leases import Leases
    from stepwell.engine.queue.backlog import Backlog
    from stepwell.engine.queue.request_slots import RequestSlots
    from stepwell.engine.queue.timers import Timers
    from stepwell.engine.routing import Routes
    from stepwell.engine.rows import Write
    from stepwell.engine.schedules import Schedules
    from stepwell.engine.watches import Watches
    from stepwell.engine.workers import Connection, Workers
    from stepwell.wire.ids import IdSource

USE_API_BYTES = 4 * 2**20 - 1024
"""A run with more step data than this is called without it; the SDK fetches it."""

LOSSES_PER_ATTEMPT = 3
"""Losing the worker so often in a row uses up an attempt: the step may be what kills it."""

_SCHEDULED: Final = RunStatus.SCHEDULED  # asked with each call

SERVER_CONNECTION = "server"
"""Has the requests that the server makes itself, as a worker's connection has calls."""


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may set. Times are milliseconds.

    `call_timeout_ms` is how long a worker may have a call without storing anything of it.
    `retry_interval_ms` replaces the retry schedule. The windows bound memory: new runs held for
    each function, and waiting times held in all. `pin_wait_ms` is how long a run waits for the
    version to which it is pinned while none of it is connected.
    """

    lease_ms: int = 120_000
    reconnect_grace_ms: int = 15_000
    call_timeout_ms: int = 7_200_000
    retry_interval_ms: int | None = None
    queue_window: int = 2_000
    timer_window: int = 20_000
    pin_wait_ms: int = 600_000
    steps_max: int = 1_000
    state_bytes_max: int = 32 * 2**20
    step_requests_max: int = 200


class Owner(Protocol):
    """The partition, as its turns see it."""

    config: EngineConfig
    ids: IdSource
    catalog: Catalog
    runs: dict[RunId, Run]
    backlog: Backlog
    timers: Timers
    leases: Leases
    request_slots: RequestSlots
    workers: Workers
    routes: Routes
    watches: Watches
    errands: Errands
    schedules: Schedules
    at_work: RunId | None


class Turn:
    """What has been decided so far."""

    def __init__(self, owner: Owner, now_ms: int) -> None:
        self.owner = owner
        self.now_ms = now_ms
        self.writes: list[Write] = []
        self.effects: list[Order] = []
        self._changed: dict[RunId, Run] = {}
        self._begun: dict[RunId, RunStatus] = {}  # status on disk of runs that began this turn
        self._looked_at: list[Run] = []
        self.started: dict[tuple[int, str], RunId] = {}
        """Runs by function and the producer's event id, of this turn."""
        self.signals: dict[str, tuple[Run, Wait]] = {}
        """Who began to wait for a signal in this turn, and waits still."""
        self.condition_work = 0
        """Work of the conditions of watches that were asked in this turn."""
        self.signals_over: set[bytes] = set()
        """Watches for signals that ended in this turn: what was looked up before may name them."""

    # --- rows that memory follows ---

    def put_watch(self, row: PutWatch) -> None:
        """Let an event or a signal find the run."""
        self.writes.append(row)
        self.owner.watches.note(row)

    def delete_watch(
        self, kind: WatchKind, subject: str, path: str, value: bytes, watch_id: bytes
    ) -> None:
        """The run does not watch for that any more."""
        row = DeleteWatch(kind=kind, subject=subject, path=path, value=value, watch_id=watch_id)
        if kind is WatchKind.SIGNAL:
            self.signals_over.add(watch_id)
        self.writes.append(row)
        self.owner.watches.note(row)

    def put_errand(self, errand: Errand) -> None:
        """Leave something for the next turn."""
        errand_id = self.owner.ids.ulid(self.now_ms)
        self.writes.append(self.owner.errands.put(errand_id, errand))

    # --- jobs ---

    def change(self, run: Run) -> None:
        """Note that the run's row must be written."""
        self._changed[run.run_id] = run

    def add_job(self, run: Run, step_id: str, current: int, *, request_seq: int = -1) -> Job:
        """Queue a call, or a request of the server's own."""
        job = self.new_job(run, step_id, current)
        job.request_seq = request_seq
        self.owner.backlog.push(run, job)
        return job

    def new_job(self, run: Run, step_id: str, current: int) -> Job:
        """A call that is not queued yet."""
        job = Job(no=run.state.next_job_no, step_id=step_id, current=current)
        run.state.next_job_no += 1
        run.state.jobs.append(job)
        return job

    def remove_job(self, run: Run, job: Job) -> None:
        """The job is done, or no longer wanted."""
        if job.phase is LEASED:
            self.release(job)
        if job.request_seq >= 0:
            self.writes.append(DeleteRequestSecrets(run_id=run.run_id, seq=job.request_seq))
        job.phase = OVER
        jobs = run.state.jobs
        for place, other in enumerate(jobs):  # most often it is the first
            if other is job:
                del jobs[place]
                return

    def release(self, job: Job) -> None:
        """End the job's lease and give its slot back; the caller sets its next phase."""
        assert job.request_id is not None, "a leased job has its fence"
        self.owner.leases.end(job.request_id)
        self.owner.workers.free(job.instance_id)
        if job.request_seq >= 0:
            self.owner.request_slots.free(job.request_id)
        job.request_id = None
        job.instance_id = ""

    def lease(self, run: Run, job: Job, connection: Connection) -> None:
        """Send a queued call to a worker."""
        owner = self.owner
        entry = owner.catalog.by_no(run.function_no)
        assert entry is not None, "functions are archived, never deleted"
        request_id = RequestId(owner.ids.ulid(self.now_ms))
        job.phase = LEASED
        job.request_id = request_id
        job.instance_id = connection.instance.instance_id
        job.generation += 1
        job.sent_ms = self.now_ms
        if job.step_id == UNTARGETED_STEP:
            run.state.again = False  # it carries all that was finished so far
        lease = owner.leases.grant(run, job, connection.connection_id, self.now_ms)
        owner.workers.take(job.instance_id)
        if run.status is _SCHEDULED:
            self._begin_run(run, entry.config.finish_timeout_ms)
            if owner.routes.of(run.function_no).pin:
                run.state.pin = connection.versions.get(run.function_no, "")
        self.change(run)
        state = run.state
        self.effects.append(
            Dispatch(
                connection_id=connection.connection_id,
                request_id=request_id,
                lease_until_ms=lease.until_ms,
                run_id=run.run_id,
                function_no=run.function_no,
                event_id=run.event_id,
                job_no=job.no,
                step_id=job.step_id,
                attempt=job.attempt,
                max_attempts=entry.max_attempts,
                generation=job.generation,
                stack=tuple(run.steps),
                current=job.current,
                plan_only=state.plan_only,
                version=state.version,
                use_api=run.state_bytes > USE_API_BYTES,
                defers=tuple(state.defers) if state.defers else (),
            )
        )

    def _begin_run(self, run: Run, finish_timeout_ms: int | None) -> None:
        if run.stored:
            self._begun[run.run_id] = run.status
        run.status = RunStatus.RUNNING
        run.started_at_ms = self.now_ms
        run.state.deadlines = []
        if finish_timeout_ms is not None:
            deadline = Deadline(finish=True, due_ms=self.now_ms + finish_timeout_ms)
            run.state.deadlines.append(deadline)
            self.owner.timers.push(run, deadline)

    def request(self, run: Run, job: Job) -> None:
        """Have the server make a request for a step, as its own worker."""
        assert job.request_seq >= 0, "the row that tells the request"
        job.phase = Phase.LEASED
        job.request_id = RequestId(self.owner.ids.ulid(self.now_ms))
        job.instance_id = SERVER_CONNECTION
        job.generation += 1
        job.sent_ms = self.now_ms
        self.owner.workers.take(SERVER_CONNECTION)
        self.owner.request_slots.take(job.request_id, run.function_no)
        self.owner.leases.grant(run, job, SERVER_CONNECTION, self.now_ms).acked = True
        self.change(run)
        self.effects.append(
            Request(
                request_id=job.request_id,
                run_id=run.run_id,
                step_id=job.step_id,
                seq=job.request_seq,
                attempt=job.attempt,
            )
        )

    def requeue(self, run: Run, job: Job) -> None:
        """Queue a call again as it is; it gets a new fence when it is sent."""
        if job.phase is Phase.LEASED:
            self.release(job)
        if self._has_outcome(run, job):
            self._call_for_any(run, job)
            return
        job.phase = Phase.QUEUED
        self.owner.backlog.push(run, job)
        self.change(run)

    def lose(self, run: Run, job: Job) -> None:
        """The worker of a call is lost: another one gets it, the third time as a new attempt."""
        job.losses += 1
        self.put_history(run, HistoryKind.CALL_LOST, job.step_id, job.attempt, None)
        if job.losses % LOSSES_PER_ATTEMPT:
            self.requeue(run, job)
            return
        self._fail_attempt(run, job, _ERROR_WORKER_LOST)

    def overrun(self, run: Run, job: Job) -> None:
        """A call took longer than calls may: its attempt has failed."""
        limit_s = self.owner.config.call_timeout_ms / 1000
        text = (
            f"the worker did not answer the call within {limit_s:g} s; split the step, or raise "
            "--connect-call-timeout (STEPWELL_CONNECT_CALL_TIMEOUT)"
        )
        self._fail_attempt(run, job, failure("CallTimeout", text))

    def _fail_attempt(self, run: Run, job: Job, error: bytes) -> None:
        """A call came to nothing: its next attempt follows, or it was the last."""
        if job.attempt + 1 >= self.max_attempts(run):
            self.fail_run(run, error)
        else:
            self.put_history(run, HistoryKind.ATTEMPT_FAILED, job.step_id, job.attempt, error)
            self.retry(run, job, None)

    def retry(self, run: Run, job: Job, retry_at_ms: int | None) -> None:
        """An attempt failed and there is another: try again when the schedule says."""
        owner = self.owner
        if job.phase is Phase.LEASED:
            self.release(job)
        if self._has_outcome(run, job):
            self._call_for_any(run, job)
            return
        if retry_at_ms is None:
            entropy = int.from_bytes(owner.ids.ulid(self.now_ms)[-4:], "big")
            retry_at_ms = self.now_ms + retry_delay_ms(
                job.attempt, interval_ms=owner.config.retry_interval_ms, entropy=entropy
            )
        job.attempt += 1
        job.phase = Phase.WAITING
        job.due_ms = retry_at_ms
        owner.timers.push(run, job)
        self.change(run)

    @staticmethod
    def _has_outcome(run: Run, job: Job) -> bool:
        """Whether a call is aimed at a step that it told the outcome of while it went on."""
        return job.step_id != UNTARGETED_STEP and job.step_id in run.steps

    def _call_for_any(self, run: Run, job: Job) -> None:
        """Call the function again, but not for the step of this call."""
        job.phase = Phase.OVER
        self.remove_job(run, job)
        self.discover(run, len(run.steps))

    def max_attempts(self, run: Run) -> int:
        """How often a call of this run may be tried."""
        entry = self.owner.catalog.by_no(run.function_no)
        assert entry is not None, "functions are archived, never deleted"
        return entry.max_attempts

    # --- steps ---

    def put_step(
        self,
        run: Run,
        *,
        step_id: str,
        kind: StepKind,
        name: str,
        data: bytes,
        attempt: int,
        started_at_ms: int,
        ended_at_ms: int | None = None,
        changes_run: bool = True,
    ) -> int:
        """Store a step's outcome, the first one of this step; returns its position from 0.

        Args:
            ended_at_ms: If it was not now.
            changes_run: Whether anything else of the run changes with it.
        """
        position = len(run.steps)
        run.steps[step_id] = len(data)
        run.state_bytes += len(data)
        self.writes.append(
            PutStep(
                run_id=run.run_id,
                step_id=step_id,
                position=position,
                kind=kind,
                name=name,
                data=data,
                attempt=attempt,
                started_at_ms=started_at_ms,
                ended_at_ms=self.now_ms if ended_at_ms is None else ended_at_ms,
            )
        )
        if changes_run:
            self.change(run)
        return position

    def finish_step(self, run: Run, step_id: str, position: int) -> None:
        """A step has its outcome: nothing else need bring one, and the function is called again
        unless parallel steps are still to come."""
        state = run.state
        self.stop_seeking(run, step_id)
        alone = state.pending.pop(step_id, False) or state.version == 1
        if state.pending and not alone:
            return
        if not state.pending and state.version != 1:
            state.plan_only = False
        self.discover(run, position + 1)

    def stop_seeking(self, run: Run, step_id: str, *, but: Job | None = None) -> None:
        """A step has its outcome: withdraw what else would bring one, but for this call."""
        state = run.state
        for job in [job for job in state.jobs if job.step_id == step_id and job is not but]:
            if job.seeks(step_id):
                self.remove_job(run, job)
        if state.sleeps:
            state.sleeps = [sleep for sleep in state.sleeps if sleep.step_id != step_id]
        if state.waits:
            for wait in [wait for wait in state.waits if wait.step_id == step_id]:
                self.end_wait(run, wait)

    def discover(self, run: Run, current: int) -> None:
        """Call the function again; one call is enough for all that finished before it is sent."""
        state = run.state
        for job in state.jobs:
            if job.step_id == UNTARGETED_STEP:
                if job.phase is LEASED:
                    state.again = True
                else:
                    job.current = max(job.current, current)
                self.change(run)
                return
        self.add_job(run, UNTARGETED_STEP, current)
        self.change(run)

    def carry_on(self, run: Run, current: int) -> None:
        """Call the function again if nothing else would bring the run on."""
        state = run.state
        if state.jobs or state.sleeps or state.waits:
            return
        # What is pending has neither a call nor a wait, so its outcome will never come.
        state.pending.clear()
        if state.version != 1:
            state.plan_only = False
        self.discover(run, current)

    def end_wait(self, run: Run, wait: Wait) -> None:
        """The run waits for this no more, whatever came of it."""
        run.state.waits = [other for other in run.state.waits if other is not wait]
        if wait.kind is not WaitKind.INVOKE:
            kind = WatchKind.SIGNAL if wait.kind is WaitKind.SIGNAL else WatchKind.EVENT
            if self.signals.get(wait.subject) == (run, wait):
                del self.signals[wait.subject]
            self.delete_watch(kind, wait.subject, wait.path, wait.value, wait.watch_id)

    def finish_waiting_step(
        self, run: Run, timed: Sleep | Wait, kind: StepKind, data: bytes
    ) -> None:
        """What a step waited for has come, or will not come any more."""
        position = self.put_step(
            run,
            step_id=timed.step_id,
            kind=kind,
            name=timed.name,
            data=data,
            attempt=0,
            started_at_ms=timed.started_ms,
        )
        self.finish_step(run, timed.step_id, position)
        self.carry_on(run, position + 1)
        self.enforce_limits(run)

    def wake_retry(self, run: Run, job: Job) -> None:
        """The time of a job's next attempt has come."""
        job.due_ms = 0
        self.requeue(run, job)

    def put_history(
        self, run: Run, kind: HistoryKind, step_id: str, attempt: int, payload: bytes | None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        """Record what no other row tells."""
        self.writes.append(
            PutHistory(
                run_id=run.run_id,
                seq=run.history_count,
                at_ms=self.now_ms,
                kind=kind,
                step_id=step_id,
                name=name,
                attempt=attempt,
                payload=payload,
            )
        )
        run.history_count += 1
        if payload is not None:
            run.state.history_bytes += len(payload)

    # --- runs end ---

    def enforce_limits(self, run: Run) -> None:
        """Fail a run that has grown too large."""
        config = self.owner.config
        if run.status.is_over:
            return
        if len(run.steps) + len(run.state.pending) > config.steps_max:
            self.fail_run(
                run,
                failure(
                    "InngestErrFunctionOverflowed",
                    f"The function run exceeded the step limit of {config.steps_max} steps.",
                ),
            )
        elif run.stored_bytes > config.state_bytes_max:
            self.fail_run(
                run,
                failure(
                    "InngestErrStateOverflowed",
                    "The function run exceeded the state size limit of "
                    f"{config.state_bytes_max} bytes.",
                    code="run_state_too_large",
                ),
            )

    def fail_run(self, run: Run, error: bytes) -> None:
        """The run ends; `error` is a JSON object."""
        self.end_run(run, RunStatus.FAILED, error)

    def end_run(self, run: Run, status: RunStatus, output: bytes | None) -> None:
        """The run is over. Its lifecycle events are stored, and may start others."""
        owner = self.owner
        state = run.state
        for job in list(state.jobs):
            if job.phase is Phase.LEASED and (
                status is RunStatus.CANCELLED or job.request_seq >= 0
            ):
                self._withdraw(job)
            self.remove_job(run, job)
        for wait in list(state.waits):
            self.end_wait(run, wait)
        for cancel in state.cancels:
            self.delete_watch(
                WatchKind.EVENT, cancel.event, cancel.path, cancel.value, cancel.watch_id
            )
        state.sleeps, state.cancels, state.deadlines, state.pending = [], [], [], {}
        run.status = status
        if run.started_at_ms is None:
            run.started_at_ms = self.now_ms
        self._changed.pop(run.run_id, None)
        self._begun.pop(run.run_id, None)
        owner.runs.pop(run.run_id, None)
        if not run.stored:
            self.writes.append(self._run_row(run))
        self.writes.append(
            UpdateRun(
                run_id=run.run_id,
                status=status,
                started_at_ms=run.started_at_ms,
                ended_at_ms=self.now_ms,
                output=output,
            )
        )
        if run.stored:
            self.writes.append(DeleteLive(run_id=run.run_id))
        self.effects.append(RunEnded(run_id=run.run_id))
        put_ending(self, run)

    def _withdraw(self, job: Job) -> None:
        assert job.request_id is not None, "a leased job has its fence"
        lease = self.owner.leases.get(job.request_id)
        if lease is not None and lease.connection_id is not None:
            self.effects.append(
                Withdraw(connection_id=lease.connection_id, request_id=job.request_id)
            )

    # --- the end of the turn ---

    def looked_at(self, run: Run) -> None:
        """A run was loaded for an input. At the end of the turn, when no other input needs it any
        more, it leaves memory again if it waits beyond the horizon."""
        self._looked_at.append(run)

    def settle(self) -> None:
        """Write each changed run once, and let go of those that wait beyond the horizon."""
        owner = self.owner
        horizon_ms = owner.timers.horizon_ms
        for run in self._changed.values():
            owner.at_work = run.run_id
            if not run.stored:
                self.writes.append(self._run_row(run))
                run.stored = True
            elif run.run_id in self._begun:
                self.writes.append(
                    UpdateRun(run_id=run.run_id, status=run.status, started_at_ms=run.started_at_ms)
                )
            self.writes.append(run.live_row())
        for run in (*self._changed.values(), *self._looked_at):
            until_ms = run.is_idle_until()
            if until_ms is not None and until_ms > horizon_ms:
                owner.runs.pop(run.run_id, None)
        self._changed.clear()
        self._begun.clear()

    @staticmethod
    def _run_row(run: Run) -> PutRun:
        return PutRun(
            run_id=run.run_id,
            function_no=run.function_no,
            event_id=run.event_id,
            status=RunStatus.RUNNING if run.status.is_over else run.status,
            started_at_ms=run.started_at_ms,
        )


def failure(name: str, message: str, *, code: str | None = None) -> bytes:
    """The error object of a run that the server fails."""
    told = {"error": f"{name}: {message}", "name": name, "message": message}
    return msgspec.json.encode(told if code is None else {"code": code, **told})


_ERROR_WORKER_LOST = failure(
    "connect_worker_stopped_responding",
    f"The worker was lost {LOSSES_PER_ATTEMPT} times in a row while it ran this call.",
)
