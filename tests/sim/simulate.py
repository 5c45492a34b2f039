"""Run one simulation from its seed and check all of it."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from stepwell.engine import partition, report, turn
from stepwell.server import clock, ids, inbox, loading, lookups, turns
from stepwell.server.dispatch import call_body
from stepwell.server.payloads import Payloads
from tests.sim.ending import check_ending
from tests.sim.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_RUNS = 2
"""So small that a handful of runs needs many pages."""

FRUITLESS_MAX = 25
"""So small that a run that gets nowhere is given up soon."""

LIMITS: tuple[tuple[Any, str, tuple[int, ...]], ...] = (
    (partition, "GIVE_OUT_MAX", (2, 1_000)),
    (partition, "DUE_PER_TURN_MAX", (1, 1_000)),
    (loading, "PAGES_PER_TURN", (1, 4)),
    (inbox, "INBOX_MAX", (3, 50_000)),
    (inbox, "TURN_INPUTS_MAX", (2, 1_000)),
    (inbox, "TURN_EVENTS_MAX", (2, 5_000)),
    (turn, "USE_API_BYTES", (60, 2**22, 2**22)),
    (call_body, "REQUEST_BYTES_MAX", (800, 2**22, 2**22)),
    (turns, "ERRANDS_PER_TURN", (1, 200, 200)),
    (lookups, "WATCHES_PER_ERRAND", (1, 500, 500)),
)
"""Bounds that only a crowd would reach: each is small in some simulations."""

PER_ERRAND = ("ERRANDS_PER_TURN", "WATCHES_PER_ERRAND")
PER_TURN = ("DUE_PER_TURN_MAX", "TURN_INPUTS_MAX", "TURN_EVENTS_MAX", "INBOX_MAX")
CROWDED_MS = 60_000
"""With so little in a turn, a slow disk makes everything wait for long."""

PAYLOAD_BYTES = (1, 2**20)


def simulate(seed: int, **options: Any) -> World:
    """Run it to its end.

    Raises:
        AssertionError: An invariant does not hold; the message has the command that replays it.
    """
    world = World(seed, **options)
    with _surrounded(world):
        try:
            world.run()
            check_ending(world)
        except Exception as error:
            raise AssertionError(
                f"{error}\ntrace: {world.digest()}\nreplay: {replay_command(world)}"
            ) from error
        finally:
            world.stop()
    return world


def replay_command(world: World) -> str:
    """The one command that shows the same again, event by event."""
    command = f"python -m tests.sim {world.seed}"
    if world.faults_given is not None:
        command += f" --faults {world.faults_given}"
    if world.disk_given is not None:
        command += f" --disk '{world.disk_given}'"
    if world.crash_given is not None:
        at, how = world.crash_given
        command += f" --crash {at} '{how}'"
    if world.effects_given is not None:
        command += f" --effects {world.effects_given}"
    return command


@contextlib.contextmanager
def _surrounded(world: World) -> Iterator[None]:
    """What is around the server's core: clocks, chance, limits, and who reads its log."""
    # Of their own, so that a limit more or less leaves all else of a seed as it was.
    choose = Random(world.seed).choice
    payloads = partial(Payloads, bytes_max=choose(PAYLOAD_BYTES))
    surroundings: tuple[tuple[Any, str, Any], ...] = (
        (loading, "PAGE_RUNS", PAGE_RUNS),
        (report, "FRUITLESS_MAX", FRUITLESS_MAX),
        (turns, "Payloads", payloads),
        (turns, "Partition", world.server.new_partition),
        (clock, "_monotonic_ms", lambda: world.now_ms),
        (clock, "_wall_ms", lambda: world.now_ms + world.clock_ahead_ms),
        (ids, "secrets", _Bits(world)),
    )
    with contextlib.ExitStack() as stack:
        for module, name, values in LIMITS:
            value = choose(values)
            if name in PER_TURN:
                # Where nothing goes wrong, no report waits for its turn until its lease has ended.
                value = values[-1] if world.is_kind else value
                if value != values[-1]:
                    world.server.committed.late_ms += CROWDED_MS
            if name in PER_ERRAND and value != values[-1]:
                world.waited.slack_ms = CROWDED_MS
            stack.enter_context(patch.object(module, name, value))
        for module, name, instead in surroundings:
            stack.enter_context(patch.object(module, name, instead))
        stack.enter_context(_read_log(world))
        yield


class _Bits:
    """What `secrets` gives, from the seed."""

    def __init__(self, world: World) -> None:
        self.randbits = world.bits

    def token_bytes(self, count: int) -> bytes:
        return self.randbits(8 * count).to_bytes(count, "big")


class _Reader(logging.Handler):
    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        self._world.server.logged(record)


@contextlib.contextmanager
def _read_log(world: World) -> Iterator[None]:
    logger, reader = logging.getLogger("stepwell"), _Reader(world)
    propagate = logger.propagate
    logger.addHandler(reader)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = propagate
        logger.removeHandler(reader)
