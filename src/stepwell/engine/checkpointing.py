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
from stepwell.wire import ops as names

if TYPE_CHECKING:
    from typing import Literal

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


def checkpoint(
    turn: Turn, item: StepsCheckpointed
) -> Literal["run_not_found", "call_stale", "op_not_allowed"] | None:
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
    assert job.request_id is not None, "a leased job has its fence"
    turn.owner.leases.renew(job.request_id, turn.now_ms)
    for op in item.ops:
        _apply(turn, run, job, op)
    turn.enforce_limits(run)
    return None


def _current_job(run: Run, item: StepsCheckpointed) -> Job | None:
    """The call that this report belongs to, if it is the current one of its job.

    By its request id; an SDK that gives none names the job, and perhaps the generation.
    """
    for job in run.state.jobs:
        if job.phase is not Phase.LEASED:
            continue
        if item.request_id is not None:
            if job.request_id == item.request_id:
                return job
        elif job.no == item.job_no and item.generation in (None, 0, job.generation):
            return job
    return None


def _apply(turn: Turn, run: Run, job: Job, op: Op) -> None:
    match op.op:
        case names.DEFER_ADD:
            defer.add(turn, run, op)
        case names.DEFER_ABORT:
            defer.abort(turn, run, op)
        case names.STEP_RUN:
            _put(turn, run, job, op, StepKind.RUN, bytes(op.data))
        case names.STEP:
            _put(turn, run, job, op, StepKind.LEGACY, bytes(op.data))
        case names.STEP_FAILED:
            _put(turn, run, job, op, StepKind.FAILED, failed_memo(op, no_retry=False))


def _put(turn: Turn, run: Run, job: Job, op: Op, kind: StepKind, data: bytes) -> None:
    if op.id in run.steps:
        return
    state = run.state
    turn.put_step(
        run,
        step_id=op.id,
        kind=kind,
        name=op.label,
        data=data,
        attempt=job.attempt,
        started_at_ms=job.sent_ms,
    )
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
