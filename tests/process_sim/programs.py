"""Functions made of steps as data, and as functions of our SDK that do what the data says.

A program is a value: a seed makes one, and what a run of it comes to is computed without running.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from stepwell import NonRetriableError, StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    from stepwell import Context, ContextSync

PRESETS = ("safe", "blended", "performant")

CAUGHT = "caught"
"""What a function makes of a step that failed for good."""


class Planned(Exception):
    """A function or a step fails because its program says so."""


class PlannedForGood(NonRetriableError):
    """The same, and no retry helps."""


class Do(msgspec.Struct, frozen=True, kw_only=True):
    """A step with a body.

    Attributes:
        failures: It raises while the attempt is below this.
        final: Its error forbids another attempt.
        body_ms: How long the body takes, where it can wait.
    """

    name: str
    failures: int
    final: bool
    body_ms: int


class Nap(msgspec.Struct, frozen=True, kw_only=True):
    """A sleep."""

    name: str
    ms: int


class Stumble(msgspec.Struct, frozen=True, kw_only=True):
    """The function itself raises here while the attempt is below `attempts`."""

    attempts: int


class Together(msgspec.Struct, frozen=True, kw_only=True):
    """Branches side by side."""

    branches: tuple[tuple[Node, ...], ...]


Node: TypeAlias = "Do | Nap | Stumble | Together"


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A function.

    Attributes:
        raises: At its end it raises for good instead of returning.
        is_async: How it is declared.
        checkpointing: A preset, with which calls go on after a step. Of async functions only: what
            a sync one waits for, its loop here could not do meanwhile.
    """

    name: str
    nodes: tuple[Node, ...]
    retries: int
    raises: bool
    is_async: bool
    checkpointing: str | None = None


def generate(random: Random, number: int, *, lease_ms: int) -> Program:
    """A program of up to a dozen steps."""
    retries = random.choice((0, 1, 2, 2, 3))
    bodies_ms = (0, 0, 5, 400, 2_000, 3 * lease_ms)
    names = (f"p{number}-s{count}" for count in range(1_000))
    program = Program(
        name=f"p{number}",
        nodes=_sequence(random, names, bodies_ms, retries=retries, depth=0),
        retries=retries,
        raises=random.random() < 0.1,
        is_async=random.random() < 0.7,
    )
    if not program.is_async:
        return program
    checkpointing = random.choice((None, *PRESETS))
    return msgspec.structs.replace(program, checkpointing=checkpointing)


def result(program: Program) -> list[Any]:
    """What a run returns, if it returns."""
    return [_value(node, program.retries) for node in program.nodes]


def bodies(program: Program) -> dict[str, int]:
    """How often the body of each step runs at most, while no call is lost."""
    return {
        step.name: 1 if step.final else min(step.failures, program.retries) + 1
        for step in _steps(program.nodes)
        if isinstance(step, Do)
    }


def bodies_ms(program: Program) -> int:
    """At most so long do its bodies take, one after the other."""
    return sum(
        step.body_ms * (program.retries + 1)
        for step in _steps(program.nodes)
        if isinstance(step, Do)
    )


def naps_ms(nodes: Sequence[Node]) -> int:
    """At most so long do its sleeps take, one after the other."""
    return sum(step.ms for step in _steps(nodes) if isinstance(step, Nap))


def tries_max(program: Program) -> int:
    """How many calls are made for one of its runs at most, one after the other."""
    return (len(list(_steps(program.nodes))) + 1) * (program.retries + 2)


def async_handler(
    program: Program, on_body: Callable[[str, str, int], None]
) -> Callable[[Context], Any]:
    """The program as an async function.

    Args:
        on_body: Told of each body that begins, with its run, its step and how long it takes.
    """

    async def body(ctx: Context, node: Do) -> str:
        on_body(ctx.run_id, node.name, node.body_ms)
        await asyncio.sleep(node.body_ms / 1000)
        return _outcome(node, ctx.attempt)

    async def one(ctx: Context, node: Node) -> Any:
        match node:
            case Do():
                try:
                    return await ctx.step.run(node.name, body, ctx, node)
                except StepError:
                    return CAUGHT
            case Nap():
                return await ctx.step.sleep(node.name, node.ms)
            case Stumble():
                return _stumble(node, ctx.attempt)
            case Together():
                branches = [partial(sequence, ctx, branch) for branch in node.branches]
                return list(await ctx.group.parallel(branches))

    async def sequence(ctx: Context, nodes: Sequence[Node]) -> list[Any]:
        return [await one(ctx, node) for node in nodes]

    async def function(ctx: Context) -> list[Any]:
        return _ending(program, await sequence(ctx, program.nodes))

    return function


def sync_handler(
    program: Program, on_body: Callable[[str, str, int], None]
) -> Callable[[ContextSync], Any]:
    """The program as a function that is not async; its bodies take no time."""

    def body(ctx: ContextSync, node: Do) -> str:
        on_body(ctx.run_id, node.name, 0)
        return _outcome(node, ctx.attempt)

    def one(ctx: ContextSync, node: Node) -> Any:
        match node:
            case Do():
                try:
                    return ctx.step.run(node.name, body, ctx, node)
                except StepError:
                    return CAUGHT
            case Nap():
                return ctx.step.sleep(node.name, node.ms)
            case Stumble():
                return _stumble(node, ctx.attempt)
            case Together():
                branches = [partial(sequence, ctx, branch) for branch in node.branches]
                return list(ctx.group.parallel(branches))

    def sequence(ctx: ContextSync, nodes: Sequence[Node]) -> list[Any]:
        return [one(ctx, node) for node in nodes]

    def function(ctx: ContextSync) -> list[Any]:
        return _ending(program, sequence(ctx, program.nodes))

    return function


def _steps(nodes: Sequence[Node]) -> Iterator[Do | Nap]:
    for node in nodes:
        match node:
            case Do() | Nap():
                yield node
            case Together():
                for branch in node.branches:
                    yield from _steps(branch)


def _sequence(
    random: Random,
    names: Iterator[str],
    bodies_ms: tuple[int, ...],
    *,
    retries: int,
    depth: int,
) -> tuple[Node, ...]:
    nodes: list[Node] = []
    for _ in range(random.randint(0 if depth else 1, 4 - depth)):
        kind = random.random()
        if kind < 0.2 and depth < 2:
            branches = [
                _sequence(random, names, bodies_ms, retries=retries, depth=depth + 1)
                for _ in range(random.randint(2, 4))
            ]
            nodes.append(Together(branches=tuple(branches)))
        elif kind < 0.4:
            ms = random.choice((0, 1, 700, 5_000, 45_000, 400_000, 3_600_000))
            nodes.append(Nap(name=next(names), ms=ms))
        elif kind < 0.46 and not depth:
            nodes.append(Stumble(attempts=random.randint(0, retries)))
        else:
            failing = random.random()
            final = failing < 0.05
            failures = random.randint(1, retries + 1) if failing < 0.25 else 0
            if final:
                failures = retries + 1  # so that what it comes to does not depend on the attempt
            body_ms = random.choice(bodies_ms)
            nodes.append(Do(name=next(names), failures=failures, final=final, body_ms=body_ms))
    return tuple(nodes)


def _value(node: Node, retries: int) -> Any:
    match node:
        case Do():
            failed = node.failures > retries or (node.final and node.failures > 0)
            return CAUGHT if failed else f"result of {node.name}"
        case Nap() | Stumble():
            return None
        case Together():
            return [[_value(one, retries) for one in branch] for branch in node.branches]


def _outcome(node: Do, attempt: int) -> str:
    if attempt >= node.failures:
        return f"result of {node.name}"
    if node.final:
        raise PlannedForGood(f"{node.name} failed for good")
    raise Planned(f"{node.name} failed")


def _stumble(node: Stumble, attempt: int) -> None:
    if attempt < node.attempts:
        raise Planned("stumbled")


def _ending(program: Program, output: list[Any]) -> list[Any]:
    if program.raises:
        raise PlannedForGood("the function raised")
    return output
