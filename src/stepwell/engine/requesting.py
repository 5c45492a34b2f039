"""Requests that the server makes for a step: to any address, or to a provider of AI.

The row that tells what to ask is written before the request leaves, so that it can be made again.
Requests wait in queues of their functions as calls do, and functions share what can be made at a
time.
Source: docs/reference/wire/waits.md, "Gateway and AIGateway".
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING

from stepwell.engine.request_secrets import part
from stepwell.engine.rows import HistoryKind, PutRequestSecrets, StepKind

if TYPE_CHECKING:
    from stepwell.engine.inputs import RequestReported
    from stepwell.engine.state import Job, Run
    from stepwell.engine.turn import Turn


def start_request(
    turn: Turn, run: Run, *, step_id: str, name: str, kind: HistoryKind, options: bytes
) -> None:
    """Queue a request. `options` are the op's own, as they came."""
    seq = run.history_count
    shown, secrets = part(options)
    turn.put_history(run, kind, step_id, 0, shown, name=name)
    if secrets is not None:
        turn.writes.append(PutRequestSecrets(run_id=run.run_id, seq=seq, secrets=secrets))
        run.state.history_bytes += len(secrets)
    turn.add_job(run, step_id, 0, request_seq=seq)
    turn.change(run)


def give_out_requests(turn: Turn, most: int) -> bool:
    """Have queued requests made while there is room, of functions with the fewest first.

    Returns:
        Whether there is room for more than `most`, which the next turn has to give out.
    """
    owner = turn.owner
    backlog, slots = owner.backlog, owner.request_slots
    heads = [
        (slots.in_use(-queue), place, queue)
        for queue in backlog.asking()
        if (place := backlog.head(queue)) is not None
    ]
    heapify(heads)
    while heads:
        queue = heads[0][2]
        if not slots.admits(-queue):
            return False  # nor any other one, since none has fewer
        if not most:
            return True
        most -= 1
        run, job = backlog.pop(queue)
        owner.at_work = run.run_id
        turn.request(run, job)
        place = backlog.head(queue)
        if place is None:
            heappop(heads)
        else:
            heapreplace(heads, (slots.in_use(-queue), place, queue))
    return False


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
