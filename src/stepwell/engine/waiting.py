"""Why a run that is not over does not go on just now, for people who look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from stepwell.engine.state import Phase, Sleep, WaitKind, decode_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.engine.leases import Leases
    from stepwell.engine.state import Wait


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What a run waits for. `until_ms` is when that ends by itself, None if it does not."""

    reason: Literal[
        "no_worker",
        "no_url",
        "no_version",
        "no_capacity",
        "request_queued",
        "future_event",
        "retry",
        "sleep",
        "event",
        "signal",
        "invoke",
        "worker_lost",
    ]
    until_ms: int | None
    text: str


def waiting_for(
    state: bytes, *, slug: str, for_worker: Callable[[str], Waiting], leases: Leases
) -> Waiting | None:
    """The reason, or None if a worker has a call of the run.

    Args:
        state: As the run's live row keeps it.
        slug: The run's function.
        for_worker: Tells what a queued call waits for; gets the version that its run is pinned to.
    """
    run = decode_state(state)
    lost_until_ms: int | None = None
    for job in run.jobs:
        if job.phase is Phase.LEASED and job.request_id is not None:
            lease = leases.get(job.request_id)
            if lease is None or lease.connection_id is not None:
                return None
            lost_until_ms = max(lost_until_ms or 0, lease.until_ms)
    if lost_until_ms is not None:
        return Waiting(
            reason="worker_lost",
            until_ms=lost_until_ms,
            text="its worker is away; if it does not come back, another one gets the call",
        )
    queued = [job for job in run.jobs if job.phase is Phase.QUEUED]
    if queued and all(job.request_seq >= 0 for job in queued):
        return Waiting(
            reason="request_queued",
            until_ms=None,
            text="the server makes as many requests as it may at a time (--step-requests-max), "
            f"shared among functions, and those of {slug} wait for their turn",
        )
    if queued:
        return for_worker(run.pin)
    retries = [(job.due_ms, job.attempt) for job in run.jobs if job.phase is Phase.WAITING]
    timed: list[Sleep | Wait] = [*run.sleeps, *run.waits]
    first = min(timed, key=_due_ms, default=None)
    if retries and (first is None or min(retries)[0] <= first.due_ms):
        due_ms, attempt = min(retries)
        if not attempt:  # it has not begun
            return Waiting(
                reason="future_event", until_ms=due_ms, text="it begins at the time of its event"
            )
        return Waiting(reason="retry", until_ms=due_ms, text=f"attempt {attempt} comes next")
    return None if first is None else _told(first)


def _due_ms(timed: Sleep | Wait) -> int:
    return timed.due_ms


def _told(timed: Sleep | Wait) -> Waiting:
    if isinstance(timed, Sleep):
        return Waiting(reason="sleep", until_ms=timed.due_ms, text=f"it sleeps in {timed.name}")
    match timed.kind:
        case WaitKind.EVENT:
            text = f"it waits for the event {timed.subject} in {timed.name}"
            return Waiting(reason="event", until_ms=timed.due_ms, text=text)
        case WaitKind.SIGNAL:
            text = f"it waits for the signal {timed.subject} in {timed.name}"
            return Waiting(reason="signal", until_ms=timed.due_ms, text=text)
        case WaitKind.INVOKE:
            text = f"it waits for a run of {timed.subject} in {timed.name}"
            return Waiting(reason="invoke", until_ms=timed.due_ms, text=text)
