"""A run that is not over, as memory holds it, and the state that its live row keeps.

`RunState` is everything that the run, step and event rows cannot tell, as MessagePack arrays: it
is rewritten with every change of the run, so it is small. Fields are only ever added at the end.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from stepwell.engine.rows import PutLive, RunStatus
from stepwell.wire.ids import UNTARGETED_STEP, RequestId, RunId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stepwell.engine.rows import RunImage
    from stepwell.wire.ids import EventId


class Phase(IntEnum):
    """Of a job. The numbers are stored."""

    QUEUED = 0  # waits for a worker
    LEASED = 1  # a worker has it
    WAITING = 2  # for the time of its next attempt
    OVER = 3  # no longer a job of its run; never stored


QUEUED: Final = Phase.QUEUED
LEASED: Final = Phase.LEASED
WAITING: Final = Phase.WAITING
OVER: Final = Phase.OVER
"""For what is done with each call: to look a member up in its enumeration costs 70 ns."""


class Job(msgspec.Struct, array_like=True, eq=False):
    """One pending call of the SDK.

    Attributes:
        no: Unique in the run; with the run's id it is the job's id.
        step_id: The step to run, or `step`.
        attempt: From 0.
        losses: How often in a row its worker was lost.
        generation: How often it was dispatched.
        due_ms: While waiting: when to queue it.
        request_id: While leased: the fence.
        instance_id: While leased: the worker that has it, whose slot it takes.
        sent_ms: When it was dispatched last.
        current: 1 + the index of the step that led to it, 0 for none.
        request_seq: Of a request that the server itself makes for the step: the history row that
            tells what it is. -1 for a call of the SDK.
    """

    no: int
    step_id: str = UNTARGETED_STEP
    current: int = 0
    attempt: int = 0
    losses: int = 0
    generation: int = 0
    phase: Phase = Phase.QUEUED
    due_ms: int = 0
    request_id: RequestId | None = None
    instance_id: str = ""
    sent_ms: int = 0
    request_seq: int = -1

    def seeks(self, step_id: str) -> bool:
        """Whether it is to bring the outcome of this step: an SDK may call a step as calls are
        called that are aimed at none, and those are not aimed at it."""
        return self.step_id == step_id and (step_id != UNTARGETED_STEP or self.request_seq >= 0)


class Sleep(msgspec.Struct, array_like=True, eq=False):
    """A step that waits for a time."""

    step_id: str
    name: str
    started_ms: int
    due_ms: int


class WaitKind(IntEnum):
    """What a run waits for. The numbers are stored."""

    EVENT = 1
    SIGNAL = 2
    INVOKE = 3


class Wait(msgspec.Struct, array_like=True, eq=False):
    """A step that waits for something to happen, or for the time when that is given up.

    Attributes:
        subject: The event's name, the signal, or the function that was invoked.
        watch_id: Its row among the watches, with the next two; also tells when it was made.
        path: Where the event must have `value`; empty for none such.
        expression: What must hold of the event, None for nothing.
    """

    step_id: str
    name: str
    started_ms: int
    due_ms: int
    kind: WaitKind
    subject: str
    watch_id: bytes
    path: str = ""
    value: bytes = b""
    expression: str | None = None


class CancelOn(msgspec.Struct, array_like=True, eq=False):
    """An event that cancels the run, if it comes before `until_ms`. The rest is as in `Wait`."""

    event: str
    watch_id: bytes
    until_ms: int
    path: str = ""
    value: bytes = b""
    expression: str | None = None


class Deadline(msgspec.Struct, array_like=True, eq=False):
    """When a run is cancelled because it has not begun, or not ended."""

    finish: bool
    due_ms: int


class Defer(msgspec.Struct, array_like=True, eq=False):
    """A function that starts when this run is over; `seq` is the history row with its input."""

    function_slug: str
    seq: int
    bytes: int


class RunState(msgspec.Struct, array_like=True, eq=False):
    """What the live row keeps.

    Attributes:
        version: Of execution, as the SDK said; -1 until it did.
        plan_only: The SDK shall report new steps, not run them.
        quiet: The run's end makes no lifecycle events (a lifecycle event started it).
        again: Something was finished since the discovery that is out was sent.
        fruitless: Reports in a row that brought nothing new.
        next_job_no: Number of the next job.
        pending: Parallel steps that have no outcome yet; true for those that do not wait for
            the others.
        parent: The run that invoked this one, and its step.
        defers: By the id of the step that deferred.
        after_cancelled: That another run was cancelled started this one; if this one is cancelled
            too, that starts nothing. Or such runs would go on for ever, each with an event twice
            as large as the one before, as it holds that one twice.
        pin: The version of its app on which the run began, if it is to stay there; else empty.
        history_bytes: Of what the run's history tells, and of the secrets of its requests: they
            are part of its state like the outcomes of its steps.
    """

    version: int = -1
    plan_only: bool = False
    quiet: bool = False
    again: bool = False
    fruitless: int = 0
    next_job_no: int = 0
    pending: dict[str, bool] = {}
    jobs: list[Job] = []
    sleeps: list[Sleep] = []
    waits: list[Wait] = []
    cancels: list[CancelOn] = []
    deadlines: list[Deadline] = []
    parent: tuple[RunId, str] | None = None
    defers: dict[str, Defer] = {}
    after_cancelled: bool = False
    pin: str = ""
    history_bytes: int = 0

    def times(self) -> Iterable[Timed]:
        """What waits for a time and is no job."""
        if not (self.waits or self.deadlines):
            return self.sleeps
        return chain(self.sleeps, self.waits, self.deadlines)


Timed: TypeAlias = Sleep | Wait | Deadline

_encode = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(RunState).decode
"""Reads what a live row keeps."""


class Run:
    """A live run. The partition owns it; `Turn` and `Report` change it."""

    __slots__ = (
        "event_id",
        "function_no",
        "history_count",
        "queued_ms",
        "run_id",
        "started_at_ms",
        "state",
        "state_bytes",
        "status",
        "steps",
        "stored",
    )

    def __init__(
        self,
        *,
        run_id: RunId,
        function_no: int,
        event_id: EventId,
        status: RunStatus,
        started_at_ms: int | None,
        state: RunState,
        stored: bool,
    ) -> None:
        self.run_id = run_id
        self.function_no = function_no
        self.event_id = event_id
        self.status = status
        self.started_at_ms = started_at_ms
        self.state = state
        self.stored = stored
        """Whether rows of this run were committed, or decided in an earlier turn."""
        self.steps: dict[str, int] = {}
        """Finished steps in order of completion, and the bytes of their data."""
        self.state_bytes = 0
        self.history_count = 0
        self.queued_ms = int.from_bytes(run_id[:6], "big")

    @classmethod
    def from_image(cls, image: RunImage) -> Run:
        """The run as the rows tell it."""
        run = cls(
            run_id=image.run_id,
            function_no=image.function_no,
            event_id=image.event_id,
            status=image.status,
            started_at_ms=image.started_at_ms,
            state=decode_state(image.state),
            stored=True,
        )
        run.steps = {step.step_id: step.data_bytes for step in image.steps}
        run.state_bytes = sum(run.steps.values())
        run.history_count = image.history_count
        return run

    @property
    def stored_bytes(self) -> int:
        """What is stored of it, beside its event: bounded by `state_bytes_max`."""
        return self.state_bytes + self.state.history_bytes

    def live_row(self) -> PutLive:
        """The row that keeps this run alive."""
        queued = calls = False
        wake_at_ms: int | None = None
        state = self.state
        for job in state.jobs:
            if job.phase is QUEUED:
                queued = True
                calls = calls or job.request_seq < 0
            else:
                due_ms = 0 if job.phase is LEASED else job.due_ms
                if wake_at_ms is None or due_ms < wake_at_ms:
                    wake_at_ms = due_ms
        for timed in state.times():
            if wake_at_ms is None or timed.due_ms < wake_at_ms:
                wake_at_ms = timed.due_ms
        assert queued or wake_at_ms is not None, "a live run has a job or a wait"
        return PutLive(
            run_id=self.run_id,
            function_no=self.function_no if calls or not queued else -self.function_no,
            queued_score=self.queued_ms if queued else None,
            wake_at_ms=wake_at_ms,
            state=_encode(state),
        )

    def may_leave(self, horizon_ms: int) -> bool:
        """Whether memory can do without this run: no call is out, no time is due by then, and it
        is queued in one queue, since the store finds it in one."""
        queues: set[bool] = set()
        for job in self.state.jobs:
            if job.phase is QUEUED:
                queues.add(job.request_seq < 0)
            elif job.phase is not WAITING or job.due_ms <= horizon_ms:
                return False
        return len(queues) <= 1 and all(timed.due_ms > horizon_ms for timed in self.state.times())

    def is_idle_until(self) -> int | None:
        """If nothing but times is waited for: the first of them; None for a run that is busy."""
        first: int | None = None
        for job in self.state.jobs:
            if job.phase is not WAITING:
                return None
            if first is None or job.due_ms < first:
                first = job.due_ms
        for timed in self.state.times():
            if first is None or timed.due_ms < first:
                first = timed.due_ms
        return first
