"""Programs by chance: each seed makes others, of up to a dozen steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sim.programs import (
    ENDS,
    Ask,
    Do,
    Hear,
    Heed,
    Hire,
    Nap,
    Node,
    Program,
    Stumble,
    Together,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

NEWS = "sim/news"
"""Is waited for; its data has a `number`, as that of runs, and a `level` from 0 to 3."""

STOP = "sim/stop"
"""Cancels runs of its number."""

CANCEL = {"event": STOP, "if": "async.data.number == event.data.number"}
SIGNALS = ("go", "stop", "turn")
HEARD: tuple[tuple[str, str | None], ...] = (
    (NEWS, None),
    (NEWS, "async.data.number == event.data.number"),
    (NEWS, "event.data.number == async.data.number && async.data.level > 1"),
    (NEWS, "async.data.level >= 2"),
    (STOP, None),
    ("inngest/function.finished", "async.data.function_id == 'sim-p0'"),
    ("inngest/function.failed", "async.data.event.data.number == event.data.number"),
)
"""Events with conditions."""


def generate(random: Random, number: int, programs: int) -> Program:
    """The program of this number among so many: it invokes later ones only."""
    maker = _Maker(random, number, programs)
    cancels = random.random() < 0.25
    return Program(
        nodes=maker.sequence(0),
        retries=maker.retries,
        eager=random.choice((1, 1, 1, 2, 5)),
        raises=random.random() < 0.1,
        complete_by_op=random.random() < 0.2,
        fails_with=random.choice(list(ENDS)) if random.random() < 0.06 else None,
        version=random.choice((1, 2, 2)),
        checkpoints=random.random() < 0.3,
        cancels=cancels,
        start_ms=random.choice((300, 4_000, 600_000)) if random.random() < 0.15 else None,
        finish_ms=random.choice((50, 2_000, 500_000)) if random.random() < 0.15 else None,
        together=number % 2 == 0,
    )


class _Maker:
    def __init__(self, random: Random, number: int, programs: int) -> None:
        self._random = random
        self._names: Iterator[str] = (f"p{number}-s{count}" for count in range(1_000))
        self._later = [f"sim-p{other}" for other in range(number + 1, programs)]
        self._deferred: str | None = None
        self.retries = random.choice((0, 1, 2, 2, 3))

    def sequence(self, depth: int) -> tuple[Node, ...]:
        random = self._random
        return tuple(self._node(depth) for _ in range(random.randint(0 if depth else 1, 4 - depth)))

    def _node(self, depth: int) -> Node:
        random, kind = self._random, self._random.random()
        if kind < 0.2 and depth < 2:
            race = random.random() < 0.4
            branches = [self.sequence(depth + 1) for _ in range(random.randint(2, 4))]
            return Together(branches=tuple(branches), race=race)
        if kind < 0.3:
            ms = 90_000_000 if random.random() < 0.03 else self._time()
            return Nap(name=next(self._names), ms=ms)
        if kind < 0.55:
            return self._wait()
        if kind < 0.61 and not depth:
            return Stumble(attempts=random.randint(0, self.retries))
        return self._do()

    def _time(self) -> int:
        return self._random.choice((0, 1, 700, 5_000, 400_000, 3_600_000))

    def _wait(self) -> Node:
        random, name = self._random, next(self._names)
        kind = random.random()
        if kind < 0.4:
            event, condition = random.choice(HEARD)
            ms = random.choice((0, 700, 5_000, 9_000, 400_000, 3_600_000))
            return Hear(name=name, event=event, condition=condition, ms=ms)
        if kind < 0.6:
            return Heed(
                name=name,
                signal=random.choice(SIGNALS),
                ms=random.choice((0, 5_000, 9_000, 400_000)),
                replaces=random.random() < 0.6,
            )
        if kind < 0.8:
            slug = random.choice(self._later) if self._later else "sim-nobody"
            return Hire(name=name, slug=slug, ms=random.choice((700, 5_000, 86_400_000)))
        return Ask(name=name, failures=random.choice((0, 0, 1, self.retries + 1)))

    def _do(self) -> Do:
        random, name = self._random, next(self._names)
        failing = random.random()
        final = failing < 0.05
        failures = self.retries + 1 if final else random.randint(1, self.retries + 1)
        if failing >= 0.25:
            failures = 0
        defers = random.random() < 0.1
        withdraws = self._deferred if random.random() < 0.3 else None
        if defers:
            self._deferred = name
        return Do(
            name=name,
            failures=failures,
            final=final,
            legacy=random.random() < 0.1,
            defers=defers,
            withdraws=withdraws,
        )
