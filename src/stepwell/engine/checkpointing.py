"""Steps that a call reports while it goes on.

Such a report is one without an end: it is fenced like any other, and refused whole if it holds an
operation that ends a call. Source: docs/reference/wire/checkpoints.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.ops import defer
from stepwell.engine.ops.step_error import failed_memo
from stepwell.engine.rows import StepKind
from stepwell.engine.state import Phase
from stepwell.engine.timings import step_times
from stepwell.wire import ops as names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.engine.effects import CheckpointRefusal
    from stepwell.engine.inputs import StepsCheckpointed
    from stepwell.engine.state import Job, Run
    from stepwell.engine.turn import Turn
    from stepwell.wire.ops import Op

_ALLOWED = frozenset(
    {
        names.STEP_RUN,
        names.STEP,
        names.STEP_FAILED,
        names.DEFER_ADD,
        names.DEFER_ABORT,
        names.NONE,
    }
)

SENT_STALE_MS = 60_000
"""How far the stored time at which the present step began may be behind: it bounds how long a step
may last, and is asked after a restart only."""

_OUTPUTS = frozenset({names.STEP_RUN, names.STEP})


def checkpoint(turn: Turn, item: StepsCheckpointed) -> CheckpointRefusal | None:
    """Store the steps; None if that was done, else why nothing was."""
    run = turn.owner.runs.get(item.run_id)
    if run is not None:
        turn.looked_at(run)
    if any(op.op not in _ALLOWED for op in item.ops):
        return "op_not_allowed"
    if run is None or run.status.is_over:
        return "run_not_found"
    turn.owner.at_work = run.run_id
    job = _current_job(run, item)
    if job is None:
        return "call_stale"
    if run.stored_bytes + _new_bytes(run, item.ops) > turn.owner.config.state_bytes_max:
        return "run_state_too_large"
    assert job.request_id is not None, "a leased job has its fence"
    turn.owner.leases.renew(job.request_id, turn.now_ms)
    lease = turn.owner.leases.get(job.request_id)
    assert lease is not None, "a leased job has its lease"
    times = step_times(item.ops, since_ms=lease.began_ms, now_ms=turn.now_ms)
    for op in item.ops:
        _apply(turn, run, job, op, times.get(op.id, (lease.began_ms, turn.now_ms)))
    lease.began_ms = lease.out_ms = turn.now_ms
    turn.enforce_limits(run)
    return None


def _current_job(run: Run, item: StepsCheckpointed) -> Job | None:
    """The call that this report belongs to, if it is the current one of its job.

    By its request id; an SDK that gives none names the job, perhaps with the generation, or
    nothing: then the first value of a step counts, whoever brings it.
    """
    for job in run.state.jobs:
        if job.phase is not Phase.LEASED:
            continue
        if item.request_id is not None:
            if job.request_id == item.request_id:
                return job
        elif item.job_no in (None, job.no) and item.generation in (None, 0, job.generation):
            return job
    return None


def _new_bytes(run: Run, ops: Sequence[Op]) -> int:
    """What these steps would add to the run's state."""
    outputs = {op.id: memoryview(op.data).nbytes for op in reversed(ops) if op.op in _OUTPUTS}
    return sum(size for step_id, size in outputs.items() if step_id not in run.steps)


def _apply(turn: Turn, run: Run, job: Job, op: Op, times: tuple[int, int]) -> None:
    match op.op:
        case names.DEFER_ADD:
            defer.add(turn, run, op)
        case names.DEFER_ABORT:
            defer.abort(turn, run, op)
        case names.STEP_RUN:
            _put(turn, run, job, op, times, StepKind.RUN, bytes(op.data))
        case names.STEP:
            _put(turn, run, job, op, times, StepKind.LEGACY, bytes(op.data))
        case names.STEP_FAILED:
            _put(turn, run, job, op, times, StepKind.FAILED, failed_memo(op, no_retry=False))


def _put(
    turn: Turn, run: Run, job: Job, op: Op, times: tuple[int, int], kind: StepKind, data: bytes
) -> None:
    if op.id in run.steps:
        return
    state = run.state
    # Mostly the step is all that is new, and the run's own row can stay as it is.
    stale = turn.now_ms - job.sent_ms >= SENT_STALE_MS
    changes_run = stale or _has_news(run, job)
    turn.put_step(
        run,
        step_id=op.id,
        kind=kind,
        name=op.label,
        data=data,
        attempt=job.attempt,
        started_at_ms=times[0],
        ended_at_ms=times[1],
        changes_run=changes_run,
    )
    if not changes_run:
        return
    # What else would run this step is not wanted any more; the function itself goes on.
    state.pending.pop(op.id, None)
    turn.stop_seeking(run, op.id, but=job)
    # The next step has all its attempts, and begins now.
    job.attempt = 0
    job.losses = 0
    job.sent_ms = turn.now_ms
    state.fruitless = 0
    if state.version < 0:
        state.version = 2


def _has_news(run: Run, job: Job) -> bool:
    """Whether a step changes more of its run than that it is there."""
    state = run.state
    return bool(
        len(state.jobs) > 1
        or state.pending
        or state.sleeps
        or state.waits
        or job.attempt
        or job.losses
        or state.fruitless
        or state.version < 0
    )
