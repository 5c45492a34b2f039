"""Functions made of steps as data: what they come to, and how an SDK would run them.

A program is a value, so a seed makes one, the expected result can be computed without running it,
and a failure prints as text. `answer` is the SDK's side of one call, by the rules of
docs/reference/wire/calls.md: which steps a call meets, which one it runs, what it reports.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from stepwell.wire.ids import UNTARGETED_STEP
from tests.sim.secret import KEY
from tests.unit.engine.scenario import op, raised, returned, step_id
from tests.unit.engine.scenario import ops as _ops

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection, Iterator, Mapping

    from stepwell.wire.outcomes import Outcome

CAUGHT = "caught"
"""What the function makes of a step that failed for good."""

DEFERRED_SLUG = "sim-deferred"
"""The function that programs defer."""

HANDLER_SLUG_END = "-failure"
"""Functions of this name handle the failures of others."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what a program is made of."""


class Do(Node, frozen=True, kw_only=True):
    """A step with a body.

    Attributes:
        failures: It raises while the call's attempt is below this.
        final: Its error forbids a retry; then `failures` is more than the attempts there are, so
            that what it comes to does not depend on the attempt.
        legacy: It is reported in the older spelling.
        defers: With its outcome it defers a function; `withdraws` is a step that did so.
    """

    name: str
    failures: int = 0
    final: bool = False
    legacy: bool = False
    defers: bool = False
    withdraws: str | None = None


class Nap(Node, frozen=True, kw_only=True):
    """A sleep."""

    name: str
    ms: int


class Hear(Node, frozen=True, kw_only=True):
    """A wait for an event."""

    name: str
    event: str
    condition: str | None
    ms: int


class Heed(Node, frozen=True, kw_only=True):
    """A wait for a signal. `replaces`: it takes the place of another run that waits for it."""

    name: str
    signal: str
    ms: int
    replaces: bool


class Hire(Node, frozen=True, kw_only=True):
    """An invocation of another function."""

    name: str
    slug: str
    ms: int


class Ask(Node, frozen=True, kw_only=True):
    """A request that the server makes; it fails while its attempt is below `failures`."""

    name: str
    failures: int


class Stumble(Node, frozen=True, kw_only=True):
    """The function itself raises here while the call's attempt is below `attempts`."""

    attempts: int


class Together(Node, frozen=True, kw_only=True):
    """Branches side by side."""

    branches: tuple[tuple[Node, ...], ...]
    race: bool


ENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "InngestErrUnsupportedOpcode": ("Dance", {}),
    "InngestErrInvalidSleep": ("Sleep", {"name": "soon"}),
    "InngestErrTimeoutTooLong": ("Sleep", {"name": "9000h"}),
    "InngestErrNoProgress": ("None", {}),
}
"""Operations that a run does not survive, by the failure; the last one if it goes on for long."""


class Program(Node, frozen=True, kw_only=True):
    """A function.

    Attributes:
        eager: How many steps a call may run in a row before it reports.
        raises: At its end it raises for good instead of returning.
        complete_by_op: The result is reported as the op `RunComplete`.
        fails_with: At its end it reports what `ENDS` says instead.
        version: Of execution, as the SDK says it.
        checkpoints: Calls tell the steps that are done while they go on.
        together: A call runs the steps of a group side by side.
        cancels: A matching event cancels its runs.
        start_ms: Its start timeout.
        finish_ms: Its finish timeout.
    """

    nodes: tuple[Node, ...]
    retries: int
    eager: int = 1
    raises: bool = False
    complete_by_op: bool = False
    fails_with: str | None = None
    version: int = 2
    checkpoints: bool = False
    together: bool = False
    cancels: bool = False
    start_ms: int | None = None
    finish_ms: int | None = None


Step: TypeAlias = Do | Nap | Hear | Heed | Hire | Ask
Waiting: TypeAlias = Nap | Hear | Heed | Hire | Ask
"""Steps that have no body."""


def result(program: Program, memo: Mapping[str, Any]) -> list[Any]:
    """What a run of this program returns, if it returns.

    Args:
        memo: What the finished steps came to, by id; asked for those that depend on others.
    """

    def value(step: Step) -> Any:
        match step:
            case Nap():
                return None
            case Hear() | Heed() | Hire():
                return memo[step_id(step.name)]
            case Ask():
                return CAUGHT if step.failures > program.retries else f"answer to {step.name}"
        failed = step.failures > program.retries or (step.final and step.failures > 0)
        return CAUGHT if failed else f"result of {step.name}"

    return _results(program.nodes, value)


def steps(nodes: Collection[Node]) -> Iterator[tuple[Step, bool]]:
    """All steps, each with whether it stands in a race."""
    for node in nodes:
        match node:
            case Do() | Nap() | Hear() | Heed() | Hire() | Ask():
                yield node, False
            case Together():
                for branch in node.branches:
                    for step, _race in steps(branch):
                        yield step, node.race


def bodies_without_faults(program: Program) -> dict[str, int]:
    """How often the body of each step runs at most while no worker is lost."""
    return {
        step.name: 1 if step.final else min(step.failures, program.retries) + 1
        for step, _race in steps(program.nodes)
        if isinstance(step, Do)
    }


def answer(
    program: Program,
    *,
    memo: Mapping[str, Any],
    target: str,
    attempt: int,
    plan_only: bool,
    bodies: Counter[str],
) -> Outcome:
    """What the SDK reports on a call.

    Args:
        memo: What the finished steps came to, by id.
        bodies: Counts the bodies that it runs, by the step's name.
    """
    done = dict(memo)
    last = attempt >= program.retries
    ops = partial(_ops, version=program.version)
    reported: list[dict[str, Any]] = []
    while True:
        try:
            found = _frontier(program.nodes, done, attempt)
        except _Stumbled:
            if reported:
                return ops(*reported)  # the next call stumbles
            return raised("stumbled")
        if not found:
            return _ending(program, done, reported)
        if target != UNTARGETED_STEP:
            for step, _race in found:
                if step_id(step.name) == target and isinstance(step, Do):
                    bodies[step.name] += 1
                    told, no_retry = _run(step, attempt=attempt, last=last)
                    return ops(told, *_asides(step, told), no_retry=no_retry)
            return raised(f"step {target} was not met")
        races = any(race for _step, race in found)
        if program.together and len(found) > 1 and attempt == 0 and not (plan_only or races):
            return ops(*reported, *_side_by_side(found, last=last, bodies=bodies))
        if len(found) > 1 or plan_only or isinstance(found[0][0], Waiting):
            return ops(*reported, *(_plan(step, race) for step, race in found))
        step = found[0][0]
        assert isinstance(step, Do)
        bodies[step.name] += 1
        told, no_retry = _run(step, attempt=attempt, last=last)
        reported += (told, *_asides(step, told))
        done[told["id"]] = told.get("data", CAUGHT)
        if told["op"] not in ("StepRun", "Step") or len(reported) >= program.eager:
            return ops(*reported, no_retry=no_retry)


class _Stumbled(Exception):
    """The function raises."""


def _results(nodes: Collection[Node], value: Callable[[Step], Any]) -> list[Any]:
    found: list[Any] = []
    for node in nodes:
        match node:
            case Do() | Nap() | Hear() | Heed() | Hire() | Ask():
                found.append(value(node))
            case Together():
                found.append([_results(branch, value) for branch in node.branches])
    return found


def _frontier(
    nodes: Collection[Node], done: Collection[str], attempt: int
) -> list[tuple[Step, bool]]:
    """The steps that are met first, none if all are done."""
    for node in nodes:
        match node:
            case Do() | Nap() | Hear() | Heed() | Hire() | Ask():
                if step_id(node.name) not in done:
                    return [(node, False)]
            case Stumble():
                if attempt < node.attempts:
                    raise _Stumbled
            case Together():
                found = [
                    (step, node.race or race)
                    for branch in node.branches
                    for step, race in _frontier(branch, done, attempt)
                ]
                if found:
                    return found
    return []


def _side_by_side(
    found: Collection[tuple[Step, bool]], *, last: bool, bodies: Counter[str]
) -> Iterator[dict[str, Any]]:
    """What a first attempt tells that runs all bodies at once."""
    for step, race in found:
        if not isinstance(step, Do):
            yield _plan(step, race)
            continue
        bodies[step.name] += 1
        told, no_retry = _run(step, attempt=0, last=last)
        # Which of several is final, each says for itself.
        yield told | {"op": "StepFailed"} if no_retry else told
        yield from _asides(step, told)


def _run(step: Do, *, attempt: int, last: bool) -> tuple[dict[str, Any], bool]:
    """Run the step's body; returns the op and whether a retry is forbidden."""
    if attempt >= step.failures:
        kind = "Step" if step.legacy else "StepRun"
        return op(kind, step.name, data=f"result of {step.name}"), False
    error = {"name": "Error", "message": f"{step.name} failed"}
    if step.final:
        return op("StepError", step.name, error=error), True
    return op("StepFailed" if last else "StepError", step.name, error=error), False


def _plan(step: Step, race: bool) -> dict[str, Any]:
    opts: dict[str, Any] = {"parallelMode": "race"} if race else {}
    match step:
        case Nap():
            return op("Sleep", step.name, name=f"{step.ms}ms", opts=opts)
        case Hear():
            opts |= {"event": step.event, "timeout": f"{step.ms}ms", "if": step.condition}
            return op("WaitForEvent", step.name, opts=opts)
        case Heed():
            conflict = "replace" if step.replaces else "fail"
            opts |= {"signal": step.signal, "timeout": f"{step.ms}ms", "conflict": conflict}
            return op("WaitForSignal", step.name, opts=opts)
        case Hire():
            opts |= {"function_id": step.slug, "payload": {"data": {}}, "timeout": f"{step.ms}ms"}
            return op("InvokeFunction", step.name, opts=opts)
        case Ask():
            kind = "AIGateway" if step.failures == 1 else "Gateway"
            opts |= {"url": "https://elsewhere", "auth_key": KEY} if step.failures else {}
            return op(kind, step.name, opts=opts)
    return op("StepPlanned", step.name, opts=opts or None)


def _asides(step: Do, told: dict[str, Any]) -> list[dict[str, Any]]:
    """What a finished step reports beside its outcome."""
    asides: list[dict[str, Any]] = []
    if told["op"] not in ("StepRun", "Step"):
        return asides
    if step.defers:
        opts = {"fn_slug": DEFERRED_SLUG, "input": {"step": step.name}}
        asides.append(op("DeferAdd", f"defer {step.name}", opts=opts))
    if step.withdraws is not None:
        target = step_id(f"defer {step.withdraws}")
        asides.append(op("DeferAbort", f"abort {step.name}", opts={"target_hashed_id": target}))
    return asides


def _ending(program: Program, memo: Mapping[str, Any], reported: list[dict[str, Any]]) -> Outcome:
    ops = partial(_ops, version=program.version)
    if program.raises:
        # An SDK that has steps to report tells them first, and raises in the next call.
        return ops(*reported) if reported else raised("the function raised", no_retry=True)
    if program.fails_with is not None:
        kind, fields = ENDS[program.fails_with]
        return ops(*reported, op(kind, "the end", **fields))
    output = _results(program.nodes, lambda step: memo[step_id(step.name)])
    if program.complete_by_op:
        return ops(*reported, op("RunComplete", "complete", data=output))
    return ops(*reported) if reported else returned(output)
