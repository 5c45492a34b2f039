"""Requests that the server makes for a step: to any address, or to a provider of AI.

The row that tells what to ask is written before the request leaves, so that it can be made again.
Source: docs/reference/wire/waits.md, "Gateway and AIGateway".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.rows import HistoryKind, StepKind

if TYPE_CHECKING:
    from stepwell.engine.inputs import RequestReported
    from stepwell.engine.state import Job, Run
    from stepwell.engine.turn import Turn


def start_request(
    turn: Turn, run: Run, *, step_id: str, name: str, kind: HistoryKind, options: bytes
) -> None:
    """Have a request made. `options` are the op's own, as they came."""
    seq = run.history_count
    turn.put_history(run, kind, step_id, 0, options, name=name)
    job = turn.new_job(run, step_id, 0)
    job.request_seq = seq
    turn.request(run, job)


def request_reported(turn: Turn, item: RequestReported) -> None:
    """A request is over: the step has its outcome, or is tried again."""
    owner = turn.owner
    lease = owner.leases.get(item.request_id)
    if lease is None or lease.job.request_seq < 0:
        return  # the run went on without it
    run, job = lease.run, lease.job
    owner.at_work = run.run_id
    job.losses = 0
    if item.error is None:
        _finish(turn, run, job, item.kind, item.data, item.name)
    elif item.no_retry or job.attempt + 1 >= turn.max_attempts(run):
        _finish(turn, run, job, StepKind.FAILED, item.error, item.name)
    else:
        turn.put_history(
            run, HistoryKind.ATTEMPT_FAILED, job.step_id, job.attempt, item.error, name=item.name
        )
        turn.retry(run, job, item.retry_at_ms)


def _finish(turn: Turn, run: Run, job: Job, kind: StepKind, data: bytes, name: str) -> None:
    started_ms = job.sent_ms
    turn.remove_job(run, job)
    position = turn.put_step(
        run,
        step_id=job.step_id,
        kind=kind,
        name=name,
        data=data,
        attempt=job.attempt,
        started_at_ms=started_ms,
    )
    turn.finish_step(run, job.step_id, position)
    turn.carry_on(run, position + 1)
    turn.enforce_limits(run)
