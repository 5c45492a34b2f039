"""What simulations must have met to prove anything: every fault, operation, limit and crash point.

The names are those of `World.count`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.ops import HANDLERS
from stepwell.engine.rows import HistoryKind, StepKind
from tests.sim.network import DIRECTIONS, MESSAGE_FATES, MESSAGES
from tests.sim.programs import ENDS
from tests.sim.world import ACCIDENTS, CALL_FATES, REQUEST_FATES

if TYPE_CHECKING:
    from collections import Counter

FAULTS = (
    *CALL_FATES,
    *ACCIDENTS,
    *REQUEST_FATES,
    *(f"{fate} {direction}" for direction in DIRECTIONS for fate in MESSAGE_FATES),
    "commit failed",
    "commit failed in its last act",
    "engine raised",
    "found stored after all",
    "read failed",
    "start failed",
)
CRASH_POINTS = (
    "crash before commit",
    "crash after commit",
    "crash amid effects",
    "crash after effects",
    "crash during a commit",
)
ARRIVALS = (
    *(
        f"{what} during a commit"
        for what in (
            "ack",
            "attach",
            "cancellation",
            "checkpoint",
            "clock set back",
            "clock set forward",
            "detach",
            "events",
            "extension",
            "loss",
            "report",
            "request's end",
            "route",
            "signal",
            "sync",
            "timer",
        )
    ),
    "commit in the thread",
    "commit on the loop",
)
OPERATIONS = tuple(f"op {name}" for name in HANDLERS)
LIMITS = (
    *(f"run failed: {name}" for name in ENDS),
    "call was over before it left",
    "calls left for the next turn",
    "horizon drawn nearer",
    "horizon moved",
    "instance full",
    "refused: internal_error",
    "request queued",
    "refused: overloaded",
    "refused: store_unavailable",
    "run failed: InngestErrFunctionOverflowed",
    "run failed: InngestErrStateOverflowed",
    "run left memory alive",
    "steps fetched",
    "third loss in a row",
    "times left for the next turn",
)
OUTCOMES = (
    *(f"history {kind.name}" for kind in HistoryKind),
    *(f"step {kind.name}" for kind in StepKind),
    "call was withdrawn",
    "call went as its route says",
    "cancelled by request",
    "cancelled: a request",
    "cancelled: an event",
    "cancelled: its finish timeout",
    "cancelled: its start timeout",
    "checkpoint call_stale",
    "checkpoint run_not_found",
    "checkpoint taken",
    "deferred function started",
    "steps failed side by side",
    "extension refused",
    "handler started",
    "input in quarantine",
    "invocation timed out",
    "invoked run CANCELLED",
    "invoked run COMPLETED",
    "invoked run FAILED",
    "nothing went wrong",
    "report stale",
    "report taken",
    "request was withdrawn",
    "route chosen",
    "run failed: Error",
    "run failed: connect_worker_stopped_responding",
    "run failed: internal_error",
    "schedule fired",
    "schedule with jitter fired",
    "signal conflict",
    "signal for nobody",
    "signal taken",
    "started by more than ids",
    "wait ended by a signal",
    "wait ended by an event",
    "wait ended by the end of a run",
    "wait ended by time",
)
GROUPS = {
    "faults": FAULTS,
    "messages": tuple(
        f"{message} {direction}" for direction in DIRECTIONS for message in MESSAGES[direction]
    ),
    "crash points": CRASH_POINTS,
    "commits, and what came while one was out": ARRIVALS,
    "operations": OPERATIONS,
    "limits": LIMITS,
    "outcomes": OUTCOMES,
}


def missing(total: Counter[str]) -> list[str]:
    """What never happened and should have."""
    return [name for names in GROUPS.values() for name in names if not total[name]]


def summary(total: Counter[str]) -> str:
    """How often what happened, by group."""
    lines: list[str] = []
    known: set[str] = set()
    for title, names in GROUPS.items():
        lines.append(title)
        lines += [f"{total[name]:>10} {name}" for name in sorted(names)]
        known.update(names)
    others = sorted(name for name in total if name not in known)
    if others:
        lines.append("others")
        lines += [f"{total[name]:>10} {name}" for name in others]
    return "\n".join(lines)
