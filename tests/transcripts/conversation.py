"""A partition in words: one command in, what it decided out, line by line.

Commands (`C1` is the first call that was sent, and so on):

    sync ship retries=2; tell on=inngest/function.failed if=shop-ship
    attach c1 instance=w1 limit=2
    detach c1 | gone c1 | restart
    send order/paid {"total": 12} id=order-1
    ack C1 | extend C1 on=c2
    reply C1 return {"ok": true} | reply C1 raise "boom" no-retry | reply C1 nothing
    reply C1 run charge {"paid": 1}; error ship; fail bill; plan a; sleep nap 5s; complete 7
    pass 15s

`race` at the end of an op makes it part of a race; `no-retry` and `after=5s` hold for the report.

Rows come first (`+`), then orders (`>`); a turn that time brought about begins with its time.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from stepwell.engine.effects import (
    AppRegistered,
    Dispatch,
    EventsAccepted,
    Reply,
    ReportTaken,
    RunEnded,
)
from stepwell.engine.leases import make_lease_id
from stepwell.engine.rows import (
    DeleteErrand,
    DeleteLive,
    DeleteRequestSecrets,
    DeleteRoute,
    DeleteSchedule,
    DeleteTransport,
    DeleteWatch,
    HistoryKind,
    PutApp,
    PutDedup,
    PutErrand,
    PutEvent,
    PutFunction,
    PutHistory,
    PutLive,
    PutQuarantine,
    PutRequestSecrets,
    PutRoute,
    PutRun,
    PutSchedule,
    PutStep,
    PutTransport,
    PutWatch,
    PutWorker,
    SetEventRuns,
    StepKind,
    TrimWorkers,
    UpdateRun,
)
from stepwell.engine.state import Phase, RunState
from stepwell.wire.durations import parse_duration_ms
from stepwell.wire.ids import UNTARGETED_STEP
from tests.unit.engine.scenario import START_MS, Scenario, op, ops, raised, returned, step_id

if TYPE_CHECKING:
    from stepwell.engine.effects import Order
    from stepwell.engine.rows import Write
    from stepwell.wire.outcomes import Outcome

_KINDS = {
    "run": "StepRun",
    "error": "StepError",
    "fail": "StepFailed",
    "plan": "StepPlanned",
    "sleep": "Sleep",
    "complete": "RunComplete",
}


class Conversation:
    """Runs commands and tells what came of them."""

    def __init__(self) -> None:
        self._scenario = Scenario()
        self._names: dict[bytes, str] = {}
        self._counts: dict[str, int] = {}
        self._steps = {UNTARGETED_STEP: "the function"}

    def say(self, command: str) -> list[str]:
        """Do what the command says; returns the lines that tell what was decided."""
        verb, _, rest = command.partition(" ")
        lines: list[str] = getattr(self, f"_{verb}")(rest)
        return lines or ["(nothing)"]

    # --- commands ---

    def _sync(self, rest: str) -> list[str]:
        functions: list[dict[str, Any]] = []
        for text in rest.split(";"):
            (name,), options = _words(text)
            function: dict[str, Any] = {"fn": name}
            if "retries" in options:
                function["retries"] = int(options["retries"])
            trigger = {"event": options.get("on", "order/paid")}
            if "if" in options:
                trigger["expression"] = f"event.data.function_id == '{options['if']}'"
            functions.append({**function, "triggers": [trigger]})
        self._scenario.sync(*functions)
        return self._told()

    def _attach(self, rest: str) -> list[str]:
        (connection,), options = _words(rest)
        limit = options.get("limit")
        self._scenario.attach(
            connection,
            instance=options.get("instance"),
            limit=None if limit is None else int(limit),
        )
        return self._told()

    def _detach(self, rest: str) -> list[str]:
        self._scenario.detach(rest)
        return self._told()

    def _gone(self, rest: str) -> list[str]:
        self._scenario.gone(rest)
        return self._told()

    def _restart(self, _rest: str) -> list[str]:
        self._scenario.restart()
        return []

    def _send(self, rest: str) -> list[str]:
        words, options = _words(rest)
        name, data = words[0], words[1] if len(words) > 1 else "{}"
        self._scenario.send(name, json.loads(data), **options)
        return self._told()

    def _ack(self, rest: str) -> list[str]:
        self._scenario.partition.ack(self._call(rest).request_id)
        return []

    def _extend(self, rest: str) -> list[str]:
        (name,), options = _words(rest)
        call = self._call(name)
        renewed = self._scenario.partition.extend_lease(
            connection_id=options.get("on", call.connection_id),
            request_id=call.request_id,
            lease_id=make_lease_id(call.request_id, call.lease_until_ms),
            now_ms=self._scenario.now_ms,
        )
        if renewed is None:
            return ["refused"]
        return [f"until {_at(int.from_bytes(renewed[:6], 'big'))}"]

    def _reply(self, rest: str) -> list[str]:
        name, _, what = rest.partition(" ")
        self._scenario.reply(self._outcome(what), self._call(name))
        return self._told()

    def _pass(self, rest: str) -> list[str]:
        scenario = self._scenario
        end_ms = scenario.now_ms + parse_duration_ms(rest)
        lines: list[str] = []
        while (due_ms := scenario.partition.next_wakeup_ms()) <= end_ms:
            scenario.now_ms = max(due_ms, scenario.now_ms)
            scenario.step()
            told = self._told()
            if told:
                lines += [f"at {_at(scenario.now_ms)}", *told]
        scenario.now_ms = end_ms
        return lines

    # --- what a worker reports ---

    def _call(self, name: str) -> Dispatch:
        return self._scenario.calls[int(name.removeprefix("C")) - 1]

    def _outcome(self, what: str) -> Outcome:
        words, options = _words(what)
        no_retry = "no-retry" in words
        retry_at_ms = None
        if "after" in options:
            retry_at_ms = self._scenario.now_ms + parse_duration_ms(options["after"])
        if words[0] == "return":
            return returned(json.loads(words[1]) if len(words) > 1 else None)
        if words[0] == "raise":
            return raised(json.loads(words[1]), no_retry=no_retry, retry_at_ms=retry_at_ms)
        reported = [] if words[0] == "nothing" else [self._op(text) for text in what.split(";")]
        return ops(*reported, no_retry=no_retry, retry_at_ms=retry_at_ms)

    def _op(self, text: str) -> dict[str, Any]:
        words, _options = _words(text)
        opts = {"parallelMode": "race"} if "race" in words else None
        words = [word for word in words if word not in ("race", "no-retry")]
        kind = _KINDS[words[0]]
        if kind == "RunComplete":
            return op(kind, "complete", data=json.loads(words[1]))
        name, value = words[1], words[2] if len(words) > 2 else None
        self._steps[step_id(name)] = name
        match kind:
            case "StepRun":
                return op(kind, name, data=None if value is None else json.loads(value))
            case "StepError" | "StepFailed":
                return op(kind, name, error={"name": "Error", "message": f"{name} failed"})
            case _:
                return op(kind, name, name=value or "", opts=opts)

    # --- what was decided ---

    def _told(self) -> list[str]:
        last = self._scenario.last
        rows = [f"+ {self._row(row)}" for row in last.writes]
        return rows + [f"> {self._order(order)}" for order in last.effects]

    def _row(self, row: Write) -> str:
        match row:
            case PutApp():
                return f"app {row.name}"
            case PutFunction():
                state = "archived" if row.archived_at_ms else f"version {row.version}"
                return f"function {row.no} {row.slug} {state}"
            case PutEvent():
                of = f" of {self._id('R', row.source_run)}" if row.source_run else ""
                runs = ", ".join(self._id("R", run_id) for run_id in row.runs)
                starts = f" starts {runs}" if runs else ""
                data = f" {row.data.decode()}" if row.data else ""
                return f"event {self._id('E', row.event_id)} {row.name}{data}{of}{starts}"
            case PutDedup():
                run = self._id("R", row.run_id)
                return f"id {row.key} started function {row.function_no} as {run}"
            case PutRun():
                status = row.status.name.lower()
                return f"run {self._id('R', row.run_id)} of function {row.function_no} {status}"
            case UpdateRun():
                output = f" {row.output.decode()}" if row.output else ""
                return f"run {self._id('R', row.run_id)} {row.status.name.lower()}{output}"
            case PutLive():
                return f"live {self._id('R', row.run_id)} {self._state(row)}"
            case DeleteLive():
                return f"live {self._id('R', row.run_id)} no more"
            case PutStep():
                kind = "" if row.kind is StepKind.RUN else f" {row.kind.name.lower()}"
                attempt = f" attempt {row.attempt}" if row.attempt else ""
                place = f"{self._id('R', row.run_id)} #{row.position}"
                return f"step {place} {row.name}{kind} {row.data.decode()}{attempt}"
            case PutHistory():
                what = row.kind.name.lower().replace("_", " ")
                payload = f" {row.payload.decode()}" if row.payload else ""
                if row.kind is HistoryKind.SLEEP_STARTED and row.payload is not None:
                    payload = f" until {_at(int(row.payload))}"
                step = self._steps[row.step_id or UNTARGETED_STEP]
                where = f"{self._id('R', row.run_id)} {step} attempt {row.attempt}"
                return f"history {where}: {what}{payload}"
            case PutSchedule() | DeleteSchedule():
                return f"schedule {row.cron} of function {row.function_no}"
            case PutWatch() | DeleteWatch():
                end = "" if isinstance(row, PutWatch) else " no more"
                return f"watch for {row.subject} {row.path} {row.value.decode()}{end}"
            case PutQuarantine() | PutErrand() | DeleteErrand() | SetEventRuns():
                raise AssertionError("no story has one")
            case PutRequestSecrets() | DeleteRequestSecrets():
                raise AssertionError("no story has a request")
            case PutTransport():
                return f"app {row.app_name} by {row.method}"
            case DeleteTransport():
                return f"app {row.app_name} not by {row.method}"
            case PutRoute() | DeleteRoute():
                raise AssertionError("no story has a route")
            case PutWorker() | TrimWorkers():
                raise AssertionError("the engine makes none")
            case _:
                assert_never(row)

    def _state(self, row: PutLive) -> str:
        state = msgspec.msgpack.decode(row.state, type=RunState)
        parts: list[str] = []
        for job in state.jobs:
            phase = job.phase.name.lower()
            if job.phase is Phase.LEASED:
                phase += f" by {job.instance_id}"
            if job.phase is Phase.WAITING:
                phase += f" until {_at(job.due_ms)}"
            tried = f" attempt {job.attempt}" if job.attempt else ""
            losses = f" lost {job.losses}" if job.losses else ""
            parts.append(f"{self._steps[job.step_id]}{tried}{losses} {phase}")
        parts += [f"{sleep.name} sleeps until {_at(sleep.due_ms)}" for sleep in state.sleeps]
        if state.pending:
            pending = " ".join(self._steps[each] for each in state.pending)
            parts.append(f"pending {pending}")
        if state.plan_only:
            parts.append("plan only")
        if state.again:
            parts.append("again")
        return "; ".join(parts)

    def _order(self, order: Order) -> str:
        match order:
            case Dispatch():
                call = self._id("C", order.request_id)
                run = self._id("R", order.run_id)
                tries = f"attempt {order.attempt} of {order.max_attempts}"
                stack = " ".join(self._steps[each] for each in order.stack)
                plan = ", plan only" if order.plan_only else ""
                what = f"{self._steps[order.step_id]} of {run}"
                return f"call {call} to {order.connection_id}: {what}, {tries}, has [{stack}]{plan}"
            case Reply(result=EventsAccepted(ids=ids)):
                return f"accepted {' '.join(self._id('E', each) for each in ids)}"
            case Reply(result=ReportTaken(accepted=accepted)):
                return "report taken" if accepted else "report refused"
            case Reply(result=AppRegistered(modified=modified)):
                return "synced" if modified else "synced, nothing new"
            case RunEnded():
                return f"{self._id('R', order.run_id)} is over"
            case _:
                raise AssertionError(order)

    def _id(self, letter: str, raw: bytes) -> str:
        """Ids are named in the order in which they are seen."""
        if raw not in self._names:
            self._counts[letter] = self._counts.get(letter, 0) + 1
            self._names[raw] = f"{letter}{self._counts[letter]}"
        return self._names[raw]


_WORD = re.compile(r'(?:[\w-]+=)?(?:"[^"]*"|\{.*\}|\[.*\]|[^\s;]+)')


def _words(text: str) -> tuple[list[str], dict[str, str]]:
    """Plain words, and options of the form `name=value`. JSON is one word."""
    words: list[str] = []
    options: dict[str, str] = {}
    for word in _WORD.findall(text):
        name, equals, value = word.partition("=")
        if equals and name.replace("-", "").isalpha():
            options[name] = value
        else:
            words.append(word)
    return words, options


def _at(ms: int) -> str:
    return f"{(ms - START_MS) / 1_000:.3f}s"
