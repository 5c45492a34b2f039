"""Run one simulation from its seed and check all of it."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from stepwell.engine import partition
from stepwell.server import loading
from tests.sim.ending import check_ending
from tests.sim.world import World

PAGE_RUNS = 2
"""So small that a handful of runs needs many pages."""

GIVE_OUT_MAX = 2
"""So small, in every second simulation, that calls are given out in several turns."""


def simulate(seed: int, **options: Any) -> World:
    """Run it to its end.

    Raises:
        AssertionError: An invariant does not hold; the message has the command that replays it.
    """
    world = World(seed, **options)
    with (
        patch.object(loading, "PAGE_RUNS", PAGE_RUNS),
        patch.object(partition, "GIVE_OUT_MAX", GIVE_OUT_MAX if seed % 2 else 1_000),
    ):
        try:
            world.run()
            check_ending(world)
        except Exception as error:
            raise AssertionError(f"{error}\nreplay: {replay_command(world)}") from error
    return world


def replay_command(world: World) -> str:
    """The one command that shows the same again, event by event."""
    command = f"python -m tests.sim {world.seed}"
    if world.faults_given is not None:
        command += f" --faults {world.faults_given}"
    if world.crash_given is not None:
        at, how = world.crash_given
        command += f" --crash {at} '{how}'"
    return command
