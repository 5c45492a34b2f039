"""What runs waited for came to what it had to: invariants 20 to 22, and 24.

The order of rows over all commits is the order in which the server decided.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from stepwell.engine.errands import MatchEvent, _decode
from stepwell.engine.rows import (
    HistoryKind,
    PutErrand,
    PutEvent,
    PutFunction,
    PutHistory,
    PutRun,
    PutStep,
    RunStatus,
    StepKind,
    UpdateRun,
)
from stepwell.expressions import compile_expression
from stepwell.server.lifecycle import event_body
from stepwell.wire.durations import parse_instant_ms
from stepwell.wire.ids import EventId, RunId, parse_ulid, ulid_ms
from tests.sim.generated import CANCEL, STOP
from tests.sim.programs import Hear, steps
from tests.unit.engine.scenario import step_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.engine.rows import Write
    from tests.sim.followed import WatchKey
    from tests.sim.world import World

Order: TypeAlias = tuple[int, int]
"""Commit, place in it."""

_STARTS = frozenset(
    {HistoryKind.WAIT_STARTED, HistoryKind.SIGNAL_WAIT_STARTED, HistoryKind.INVOKE_STARTED}
)


class _Began(msgspec.Struct):
    order: Order
    told: dict[str, Any]
    until_ms: int


class _Came(msgspec.Struct):
    order: Order
    event_id: EventId
    errand_id: bytes
    """Of looking at it; empty if nobody waited for an event of its name."""
    ms: int


class _Ended(msgspec.Struct):
    status: RunStatus
    output: bytes | None
    commit: int
    ms: int


class Waited:
    """Follows the commits of a world.

    Attributes:
        slack_ms: So long an event, or the end of a run, may wait until it is looked at.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.slack_ms = 0
        self._commit = 0
        self._began: dict[tuple[RunId, str], _Began] = {}
        self._events: dict[str, list[_Came]] = {}
        self._errands: dict[EventId, bytes] = {}
        self._runs: dict[RunId, Order] = {}
        self._ended: dict[RunId, _Ended] = {}
        self._signals: dict[int, RunId] = {}
        self._bodies: dict[EventId, dict[str, Any]] = {}
        self._functions: dict[int, PutFunction] = {}

    def by_no(self, no: int) -> PutFunction:
        """A function as it was stored last."""
        return self._functions[no]

    def take(self, writes: Sequence[Write], now_ms: int) -> None:
        """One commit; its rows can be read."""
        self._commit += 1
        for row in writes:
            if isinstance(row, PutErrand):
                errand = _decode(row.body)
                if isinstance(errand, MatchEvent):
                    self._errands.setdefault(errand.event_id, row.errand_id)
        for place, row in enumerate(writes):
            order = (self._commit, place)
            match row:
                case PutFunction():
                    self._functions[row.no] = row
                case PutEvent():
                    self._events.setdefault(row.name, []).append(self._came(row, order, now_ms))
                case PutHistory() if row.kind in _STARTS:
                    self._begin(row, order)
                case PutHistory() if row.kind is HistoryKind.CANCELLED:
                    self._check_cancelled(row)
                case PutRun():
                    self._runs[row.run_id] = order
                case UpdateRun() if row.status.is_over:
                    self._ended[row.run_id] = _Ended(
                        status=row.status, output=row.output, commit=self._commit, ms=now_ms
                    )
                case PutStep():
                    began = self._began.pop((row.run_id, row.step_id), None)
                    if began is not None:
                        self._check_step(row, began)
                case _:
                    pass

    def _came(self, row: PutEvent, order: Order, now_ms: int) -> _Came:
        errand_id = self._errands.get(row.event_id, b"")
        ms = ulid_ms(errand_id) if errand_id else now_ms
        return _Came(order=order, event_id=row.event_id, errand_id=errand_id, ms=ms)

    def _begin(self, row: PutHistory, order: Order) -> None:
        assert row.step_id is not None, "20: a step waits"
        key = (row.run_id, row.step_id)
        assert key not in self._began, "20: a step begins to wait once"
        told = json.loads(row.payload or b"")
        if "until" not in told:
            return  # an invocation of nobody, which fails at once
        until_ms = parse_instant_ms(told["until"])
        self._began[key] = _Began(order=order, told=told, until_ms=until_ms)

    def _check_step(self, row: PutStep, began: _Began) -> None:
        match row.kind:
            case StepKind.EVENT:
                self._check_heard(row, began)
            case StepKind.SIGNAL:
                memo = json.loads(row.data)
                assert memo["signal"] == began.told["signal"], "22: it is the signal it waited for"
                assert memo["data"] not in self._signals, "22: a signal goes to one run"
                self._signals[memo["data"]] = row.run_id
                self._world.count["wait ended by a signal"] += 1
            case StepKind.SIGNAL_TIMEOUT:
                self._check_time(row, began)
            case StepKind.INVOKE | StepKind.FAILED:
                self._check_hired(row, began)
            case _:
                raise AssertionError(f"20: a wait does not come to {row.kind.name}")

    # --- 20 ---

    def _check_heard(self, row: PutStep, began: _Began) -> None:
        count = self._world.count
        name = began.told["event"]
        candidates = [
            came
            for came in self._events.get(name, ())
            if began.order < came.order and came.order[0] < self._commit
        ]
        if row.data == b"null":
            self._check_time(row, began)
            limit_ms = began.until_ms - self.slack_ms
            for came in candidates:
                in_time = came.ms < limit_ms
                missed = in_time and self._matches(row.run_id, row.step_id, came)
                assert not missed, "20: an event came in time and did not end the wait"
            count["wait ended by time"] += 1
            return
        heard = json.loads(row.data)
        for came in candidates:
            if self._matches(row.run_id, row.step_id, came):
                first = self._body(came.event_id)
                assert heard == first, f"20: it heard {heard}, the first one was {first}"
                assert came.ms < began.until_ms, "20: the event came after its time"
                count["wait ended by an event"] += 1
                count["wait ended by the end of a run"] += name.startswith("inngest/")
                return
        raise AssertionError("20: no event ended the wait, and its time is not over")

    def _check_time(self, row: PutStep, began: _Began) -> None:
        assert row.ended_at_ms >= began.until_ms, "20: the time of the wait is not over"
        self._world.server.committed.check_time(began.until_ms, row.ended_at_ms)

    def _matches(self, run_id: RunId, step: str, came: _Came) -> bool:
        program = self._world.program_of(run_id)
        node = next(
            each
            for each, _race in steps(program.nodes)
            if isinstance(each, Hear) and step_id(each.name) == step
        )
        return node.condition is None or self._holds(node.condition, run_id, came.event_id)

    def _holds(self, condition: str, run_id: RunId, event_id: EventId) -> bool:
        """As if nothing of the expression had been prepared."""
        run = self._world.server.reader.run(run_id)
        assert run is not None, "20: a run is stored"
        variables = {"event": self._body(run.event_id), "async": self._body(event_id)}
        return compile_expression(condition).matches(variables, now_ms=0)

    def _body(self, event_id: EventId) -> dict[str, Any]:
        body = self._bodies.get(event_id)
        if body is None:
            reader = self._world.server.reader
            record = reader.event(event_id)
            assert record is not None, "20: an event is stored"
            body = self._bodies[event_id] = json.loads(event_body(record, reader, self))
        return body

    # --- 21 ---

    def _check_hired(self, row: PutStep, began: _Began) -> None:
        child = RunId(parse_ulid(began.told["run"]))
        ended = self._ended.get(child)
        data = json.loads(row.data)
        if row.kind is StepKind.FAILED and data["name"] == "InngestInvokeTimeoutError":
            self._check_time(row, began)
            missed = ended is not None and ended.ms < began.until_ms - self.slack_ms
            early = ended is not None and ended.commit < self._commit and missed
            assert not early, "21: the run ended in time and its outcome was not told"
            self._world.count["invocation timed out"] += 1
            return
        assert ended is not None, "21: an outcome is of a run that is over"
        self._world.count[f"invoked run {ended.status.name}"] += 1
        match ended.status:
            case RunStatus.COMPLETED:
                assert row.kind is StepKind.INVOKE, "21: a result is a result"
                assert row.data == ended.output, "21: it is the result of that run"
            case RunStatus.FAILED:
                assert row.kind is StepKind.FAILED, "21: a failure is a failure"
                failed = json.loads(ended.output or b"")
                assert data["message"] == failed["message"], "21: it is the error of that run"
            case _:
                assert row.kind is StepKind.FAILED, "21: a cancellation is a failure"
                assert data["name"] == "InvokedRunCancelled", "21: it says why"

    # --- 22 ---

    def check_signal(
        self, signal: str, number: int, run_id: RunId | None, waited_for: Sequence[WatchKey]
    ) -> None:
        """As somebody hears who took a signal.

        Args:
            waited_for: Who waited for it when it was sent.
        """
        server = self._world.server
        if self._signals.get(number) != run_id:
            server.violated(f"22: signal {number} went to another run than it was told")
        still = server.committed.followed.waiters(signal)
        if run_id is None and set(waited_for) & set(still):
            server.violated("22: a signal finds the run that waits for it")

    # --- 24 ---

    def _check_cancelled(self, row: PutHistory) -> None:
        world = self._world
        reason = json.loads(row.payload or b"")["reason"]
        world.count[f"cancelled: {reason}"] += 1
        program = world.program_of(row.run_id)
        run = world.server.reader.run(row.run_id)
        assert run is not None, "24: a run is stored"
        queued_ms = ulid_ms(row.run_id)
        match reason:
            case "a request":
                assert row.run_id in world.outside.cancelled, "24: nobody asked for it"
            case "an event":
                assert program.cancels, "24: it is cancelled by no event"
                assert self.stops(row.run_id, self._commit), "24: no event cancelled it"
            case "its start timeout":
                assert program.start_ms is not None, "24: it has no start timeout"
                called = world.server.committed.called.values()
                assert row.run_id not in called, "24: a run that began has no start timeout"
                world.server.committed.check_time(queued_ms + program.start_ms, row.at_ms)
            case "its finish timeout":
                assert program.finish_ms is not None, "24: it has no finish timeout"
                begun_ms = run.started_at_ms or 0
                world.server.committed.check_time(begun_ms + program.finish_ms, row.at_ms)
            case _:
                raise AssertionError(f"24: a run is cancelled by {reason}")

    def stops(self, run_id: RunId, before_commit: int) -> list[int]:
        """When events came that cancel this run, after it was there and before a commit."""
        begun = self._runs[run_id]
        return [
            came.ms
            for came in self._events.get(STOP, ())
            if begun[0] <= came.order[0] < before_commit
            and self._is_later(came, run_id)
            and self._holds(CANCEL["if"], run_id, came.event_id)
        ]

    def _is_later(self, came: _Came, run_id: RunId) -> bool:
        # In one commit the ids tell: they ascend as long as a process lives.
        return came.order[0] > self._runs[run_id][0] or came.errand_id > run_id

    def check_end(self, run_id: RunId) -> None:
        """24: a run that had to be cancelled was."""
        program = self._world.program_of(run_id)
        ended = self._ended[run_id]
        if ended.status is RunStatus.CANCELLED:
            return
        if program.cancels:
            for ms in self.stops(run_id, ended.commit - 1):
                late = ended.ms > ms + self.slack_ms + self._world.server.committed.late_ms
                assert not late, "24: an event cancels the run"
        if program.finish_ms is not None:
            run = self._world.server.reader.run(run_id)
            assert run is not None, "24: a run is stored"
            assert run.started_at_ms is not None, "24: a run that is over began"
            took_ms = (run.ended_at_ms or 0) - run.started_at_ms
            late_ms = self._world.server.committed.late_ms + self._world.down_ms
            assert took_ms <= program.finish_ms + late_ms, "24: it ends in time or is cancelled"
