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
from tests.unit.engine.scenario import op, raised, returned, step_id
from tests.unit.engine.scenario import ops as _ops

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Collection, Iterator, Mapping
    from random import Random

    from stepwell.wire.outcomes import Outcome

CAUGHT = "caught"
"""What the function makes of a step that failed for good."""

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
    """

    name: str
    failures: int = 0
    final: bool = False
    legacy: bool = False


class Nap(Node, frozen=True, kw_only=True):
    """A sleep."""

    name: str
    ms: int


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
    """

    nodes: tuple[Node, ...]
    retries: int
    eager: int = 1
    raises: bool = False
    complete_by_op: bool = False
    fails_with: str | None = None
    version: int = 2


Step: TypeAlias = "Do | Nap"


def result(program: Program) -> list[Any]:
    """What a run of this program returns, if it returns."""

    def value(step: Step) -> Any:
        if isinstance(step, Nap):
            return None
        failed = step.failures > program.retries or (step.final and step.failures > 0)
        return CAUGHT if failed else f"result of {step.name}"

    return _results(program.nodes, value)


def steps(nodes: Collection[Node]) -> Iterator[tuple[Step, bool]]:
    """All steps, each with whether it stands in a race."""
    for node in nodes:
        match node:
            case Do() | Nap():
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
                    return ops(told, no_retry=no_retry)
            return raised(f"step {target} was not met")
        if len(found) > 1 or plan_only or isinstance(found[0][0], Nap):
            return ops(*reported, *(_plan(step, race) for step, race in found))
        step = found[0][0]
        assert isinstance(step, Do)
        bodies[step.name] += 1
        told, no_retry = _run(step, attempt=attempt, last=last)
        reported.append(told)
        done[told["id"]] = told.get("data", CAUGHT)
        if told["op"] not in ("StepRun", "Step") or len(reported) >= program.eager:
            return ops(*reported, no_retry=no_retry)


def generate(random: Random, number: int) -> Program:
    """A program of up to a dozen steps."""
    names = (f"p{number}-s{count}" for count in range(1_000))
    retries = random.choice((0, 1, 2, 2, 3))
    return Program(
        nodes=_sequence(random, names, retries=retries, depth=0),
        retries=retries,
        eager=random.choice((1, 1, 1, 2, 5)),
        raises=random.random() < 0.1,
        complete_by_op=random.random() < 0.2,
        fails_with=random.choice(list(ENDS)) if random.random() < 0.06 else None,
        version=random.choice((1, 2, 2)),
    )


def _sequence(
    random: Random, names: Iterator[str], *, retries: int, depth: int
) -> tuple[Node, ...]:
    nodes: list[Node] = []
    for _ in range(random.randint(0 if depth else 1, 4 - depth)):
        kind = random.random()
        if kind < 0.2 and depth < 2:
            race = random.random() < 0.4
            branches = [
                _sequence(random, names, retries=retries, depth=depth + 1)
                for _ in range(random.randint(2, 4))
            ]
            nodes.append(Together(branches=tuple(branches), race=race))
        elif kind < 0.35:
            ms = random.choice((0, 1, 700, 5_000, 400_000, 3_600_000))
            if random.random() < 0.03:
                ms = 90_000_000
            nodes.append(Nap(name=next(names), ms=ms))
        elif kind < 0.43 and not depth:
            nodes.append(Stumble(attempts=random.randint(0, retries)))
        else:
            failing = random.random()
            final = failing < 0.05
            failures = retries + 1 if final else random.randint(1, retries + 1)
            if failing >= 0.25:
                failures = 0
            legacy = random.random() < 0.1
            nodes.append(Do(name=next(names), failures=failures, final=final, legacy=legacy))
    return tuple(nodes)


class _Stumbled(Exception):
    """The function raises."""


def _results(nodes: Collection[Node], value: Callable[[Step], Any]) -> list[Any]:
    found: list[Any] = []
    for node in nodes:
        match node:
            case Do() | Nap():
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
            case Do() | Nap():
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
    opts = {"parallelMode": "race"} if race else None
    if isinstance(step, Nap):
        return op("Sleep", step.name, name=f"{step.ms}ms", opts=opts)
    return op("StepPlanned", step.name, opts=opts)


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
