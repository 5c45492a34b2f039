"""A partition in a test: facts in by name, and what was decided out, as a conversation.

Each turn is committed to a store in memory, and what must hold after every commit is checked, so
every test of the engine checks it as well.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, TypeVar

from stepwell.engine.effects import (
    CancelTaken,
    CheckpointTaken,
    Dispatch,
    EventsAccepted,
    FunctionStarted,
    Reply,
    ReportTaken,
    Request,
    SignalTaken,
    Transition,
    Withdraw,
)
from stepwell.engine.inputs import (
    AppSynced,
    ArrivedEvent,
    CallReported,
    CancelRequested,
    EventsReceived,
    FunctionInvoked,
    RequestReported,
    SignalSent,
    StepsCheckpointed,
    WorkerAttached,
    WorkerDetached,
    WorkerGone,
)
from stepwell.engine.partition import Partition
from stepwell.engine.rows import PutStep, StepKind, UpdateRun
from stepwell.engine.turn import EngineConfig
from stepwell.server.loading import load_partition, load_wanted
from stepwell.server.lookups import Lookups
from stepwell.server.payloads import Payloads
from stepwell.store.memory import MemoryStore
from stepwell.wire.events import parse_events
from stepwell.wire.functions import parse_register
from stepwell.wire.ids import EventId, RequestId, ulid_bytes
from stepwell.wire.ops import parse_ops
from stepwell.wire.outcomes import Ops, Outcome, Raised, Returned
from tests.sim.invariants import (
    Committed,
    check_call,
    check_memory,
    check_rows_followed,
    check_runs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.inputs import Input
    from stepwell.engine.rows import Write
    from stepwell.wire.ids import RunId

T = TypeVar("T")

START_MS = 1_760_000_000_000


class CountingIds:
    """An `IdSource` without chance: entropy counts up."""

    def __init__(self) -> None:
        self._count = 0

    def ulid(self, ms: int) -> bytes:
        self._count += 1
        return ulid_bytes(ms, self._count.to_bytes(10, "big"))


class Scenario:
    """One partition, its store and clock, and the worker side of the conversation."""

    def __init__(self, **config: Any) -> None:
        self.config = EngineConfig(**{"retry_interval_ms": 1_000, **config})
        self.ids = CountingIds()
        self.store = MemoryStore()
        self.reader = self.store.reader()
        self.committed = Committed()
        self.now_ms = START_MS
        self.partition = self.rebuilt()
        self.lookups = Lookups(self.store, self.reader, Payloads(self.reader, self))
        self.last = Transition(writes=[], effects=[])
        self.writes: list[Write] = []
        self.calls: list[Dispatch] = []
        self.requests: list[Request] = []
        self.withdrawn: list[RequestId] = []
        """Calls that workers need not go on with."""
        self.tickets = 0

    def by_no(self, no: int) -> FunctionEntry | None:
        """The function with this number."""
        return self.partition.catalog.by_no(no)

    # --- facts ---

    def step(self, *inputs: Input) -> Transition:
        """Have a turn and commit it, and those for the errands that it leaves; new calls go to
        the end of `calls`. Gives what the first turn decided."""
        partition, lookups = self.partition, self.lookups
        given = lookups.inputs(partition, inputs, self.now_ms)
        first = self._turn([*given, *lookups.errands(partition, 10, self.now_ms)])
        while partition.errands:
            self._turn(lookups.errands(partition, 10, self.now_ms))
        self.last = first
        return first

    def _turn(self, inputs: Sequence[Input]) -> Transition:
        load_wanted(self.store, self.partition, self.now_ms)
        self.last = self.partition.step(inputs, self.now_ms)
        self.store.commit(self.last.writes)
        self.writes += self.last.writes
        calls = [effect for effect in self.last.effects if isinstance(effect, Dispatch)]
        self.calls += calls
        self.requests += [each for each in self.last.effects if isinstance(each, Request)]
        self.withdrawn += [
            each.request_id for each in self.last.effects if isinstance(each, Withdraw)
        ]
        check_runs(self.partition, self.store.load_runs(self.committed.take(self.last.writes)))
        check_memory(self.partition)
        check_rows_followed(self.committed, self.partition)
        for call in calls:
            check_call(self.committed, self.store, call)
        return self.last

    def rebuilt(self) -> Partition:
        """Another partition, from the rows."""
        partition = Partition(self.config, self.ids)
        load_partition(self.store, partition, self.now_ms)
        return partition

    def restart(self) -> None:
        """The server's process is a new one: connections are gone, rows are not."""
        self.partition = self.rebuilt()
        live = sorted(self.committed.live)
        check_runs(self.partition, self.store.load_runs(live))
        check_memory(self.partition)
        check_rows_followed(self.committed, self.partition)

    def sync(self, *functions: dict[str, Any], app: str = "shop") -> None:
        """Register functions, given as configurations without their `steps`."""
        body = {
            "appName": app,
            "url": "ws://connect",
            "functions": [function_config(app, **function) for function in functions],
        }
        self.step(
            AppSynced(
                ticket=self.ticket(),
                registration=parse_register(json.dumps(body).encode()),
                sync_id="00000000-0000-4000-8000-000000000000",
            )
        )

    def attach(
        self,
        connection: str = "c1",
        *slugs: str,
        app: str = "shop",
        instance: str | None = None,
        limit: int | None = None,
        version_ms: int = 0,
        version: str = "",
    ) -> None:
        """A worker is ready, for all functions if none are named."""
        names = slugs or tuple(entry.slug for entry in self.partition.catalog.functions)
        self.step(
            WorkerAttached(
                connection_id=connection,
                instance_id=instance or connection,
                limit=limit,
                functions=frozenset((app, slug) for slug in names),
                version_ms=version_ms,
                versions={app: version} if version else {},
            )
        )

    def detach(self, connection: str = "c1") -> None:
        self.step(WorkerDetached(connection_id=connection))

    def gone(self, connection: str = "c1") -> None:
        self.step(WorkerGone(connection_id=connection))

    def send(self, name: str = "order/paid", data: Any = None, **fields: Any) -> None:
        """One event arrives."""
        self.send_many({"name": name, "data": data or {}, **fields})

    def send_many(self, *events: dict[str, Any], ids: Sequence[EventId] | None = None) -> None:
        """Events arrive in one request; `ids` as if their producer fixed them."""
        self.step(self.events(*events, ids=ids))

    def events(
        self, *events: dict[str, Any], ids: Sequence[EventId] | None = None
    ) -> EventsReceived:
        """What arrives, with what the store knows of it."""
        parsed = parse_events(json.dumps(events).encode(), event_bytes_max=2**20)
        if ids is None:
            ids = [EventId(self.ids.ulid(self.now_ms)) for _ in parsed]
        known = self.store.known_events(ids)
        return EventsReceived(
            ticket=self.ticket(),
            events=tuple(
                ArrivedEvent(event_id=event_id, event=event, known=event_id in known)
                for event_id, event in zip(ids, parsed, strict=True)
            ),
            started=self.store.known_dedups(
                self.partition.dedup_keys(parsed, self.now_ms), now_ms=self.now_ms
            ),
        )

    def reply(self, outcome: Outcome, call: Dispatch | None = None) -> bool:
        """The worker reports on a call, the latest by default; returns whether it counted."""
        request_id = (call or self.calls[-1]).request_id
        return self.reply_to(request_id, outcome)

    def call_for(self, name: str) -> Dispatch:
        """The latest call that is aimed at this step."""
        return next(call for call in reversed(self.calls) if call.step_id == step_id(name))

    def reply_to(self, request_id: RequestId, outcome: Outcome) -> bool:
        self.step(CallReported(ticket=self.ticket(), request_id=request_id, outcome=outcome))
        (taken,) = self.replies(ReportTaken)
        return taken.accepted

    def signal(self, signal: str = "go", data: Any = None) -> RunId | None:
        """Somebody sends a signal; returns the run that waited for it."""
        self.step(self.signal_input(signal, data))
        (taken,) = self.replies(SignalTaken)
        return taken.run_id

    def signal_input(self, signal: str = "go", data: Any = None) -> SignalSent:
        return SignalSent(
            ticket=self.ticket(), signal=signal, data=json.dumps(data).encode(), found=None
        )

    def cancel(self, run_id: RunId | None = None) -> bool:
        """Somebody cancels a run, that of the latest call by default; returns whether it was."""
        self.step(CancelRequested(ticket=self.ticket(), run_id=run_id or self.call.run_id))
        (taken,) = self.replies(CancelTaken)
        return taken.cancelled

    def invoke(self, function: str, data: Any = None) -> RunId | None:
        """Somebody invokes a function; returns its run."""
        self.step(
            FunctionInvoked(
                ticket=self.ticket(),
                function=function,
                data=json.dumps(data or {}).encode(),
                user=None,
                v=None,
            )
        )
        (started,) = self.replies(FunctionStarted)
        return None if started.ids is None else started.ids[0]

    def checkpoint(
        self,
        *reported: dict[str, Any],
        call: Dispatch | None = None,
        fence: str = "request id",
        generation: int | None = None,
    ) -> str | None:
        """The latest call, or another one, tells steps while it goes on; returns the refusal.

        Args:
            fence: By what the call is named: `request id`, `job` or `nothing`.
        """
        call = call or self.call
        by_id = fence == "request id"
        self.step(
            StepsCheckpointed(
                ticket=self.ticket(),
                run_id=call.run_id,
                request_id=call.request_id if by_id else None,
                job_no=call.job_no if fence == "job" else None,
                generation=generation,
                ops=parse_ops(json.dumps(reported).encode()),
            )
        )
        (taken,) = self.replies(CheckpointTaken)
        return taken.refusal

    def request_ends(
        self, request: Request | None = None, *, data: Any = None, error: Any = None, **more: Any
    ) -> None:
        """A request that the server made for a step is over, the latest by default."""
        self.step(
            RequestReported(
                request_id=(request or self.requests[-1]).request_id,
                name="fetch",
                kind=StepKind.FETCH,
                data=json.dumps(data).encode(),
                error=None if error is None else json.dumps(error).encode(),
                **more,
            )
        )

    def pass_ms(self, ms: int) -> None:
        """Time passes, and the partition is woken as often as it asks for."""
        end_ms = self.now_ms + ms
        while (due_ms := max(self.partition.next_wakeup_ms(), self.now_ms)) <= end_ms:
            self.now_ms = due_ms
            self.step()
            idle = not (self.last.writes or self.last.effects)
            if idle and self.partition.next_wakeup_ms() <= self.now_ms:
                raise AssertionError("the partition asks to be woken in the past")
        self.now_ms = end_ms

    # --- what came of it ---

    def ticket(self) -> int:
        self.tickets += 1
        return self.tickets

    def replies(self, kind: type[T]) -> list[T]:
        return [
            effect.result
            for effect in self.last.effects
            if isinstance(effect, Reply) and isinstance(effect.result, kind)
        ]

    def rows(self, kind: type[T]) -> list[T]:
        """All rows of a kind that were ever written, in order."""
        return [row for row in self.writes if isinstance(row, kind)]

    def step_row(self, name: str, run_id: RunId | None = None) -> PutStep:
        """What was stored of a step."""
        return next(
            row
            for row in self.rows(PutStep)
            if row.step_id == step_id(name) and run_id in (None, row.run_id)
        )

    def has_step(self, name: str) -> bool:
        return any(row.step_id == step_id(name) for row in self.rows(PutStep))

    @property
    def ends(self) -> list[UpdateRun]:
        """How runs ended, in order."""
        return [row for row in self.rows(UpdateRun) if row.status.is_over]

    @property
    def call(self) -> Dispatch:
        """The latest call."""
        return self.calls[-1]

    @property
    def accepted_ids(self) -> tuple[EventId, ...]:
        (accepted,) = self.replies(EventsAccepted)
        return accepted.ids


def function_config(app: str, fn: str = "ship", **options: Any) -> dict[str, Any]:
    """A function's configuration as SDKs send it; triggered by `order/paid` unless it says."""
    slug = f"{app}-{fn}"
    retries = options.pop("retries", None)
    step: dict[str, Any] = {
        "id": "step",
        "name": "step",
        "runtime": {"type": "ws", "url": f"ws://connect?fnId={slug}&stepId=step"},
    }
    if retries is not None:
        step["retries"] = {"attempts": retries}
    return {
        "id": slug,
        "name": fn,
        "triggers": [{"event": "order/paid"}],
        "steps": {"step": step},
        **options,
    }


def step_id(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


def op(kind: str, step: str, **fields: Any) -> dict[str, Any]:
    return {"op": kind, "id": step_id(step), "displayName": step, **fields}


def ops(
    *reported: dict[str, Any],
    no_retry: bool = False,
    retry_at_ms: int | None = None,
    version: int = 2,
) -> Ops:
    return Ops(
        ops=parse_ops(json.dumps(reported).encode()),
        no_retry=no_retry,
        retry_at_ms=retry_at_ms,
        version=version,
    )


def ran(name: str, value: Any = None) -> Ops:
    """The call met one step and ran it."""
    return ops(op("StepRun", name, data=value))


def returned(value: Any = None) -> Returned:
    return Returned(output=json.dumps(value).encode())


def raised(
    message: str = "no", *, no_retry: bool = False, retry_at_ms: int | None = None
) -> Raised:
    error = {"name": "Error", "message": message}
    return Raised(error=json.dumps(error).encode(), no_retry=no_retry, retry_at_ms=retry_at_ms)
