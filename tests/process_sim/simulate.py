"""Run one simulation from its seed and check all of it."""

from __future__ import annotations

from typing import Any

from tests.process_sim.world import World


def simulate(seed: int, **options: Any) -> World:
    """Run it to its end.

    Raises:
        AssertionError: An invariant does not hold; the message has the command that replays it.
    """
    world = World(seed, **options)
    try:
        world.run()
    except Exception as error:
        raise AssertionError(f"{error}\nreplay: {replay_command(world)}") from error
    return world


def replay_command(world: World) -> str:
    """The one command that shows the same again, event by event."""
    command = f"python -m tests.process_sim {world.seed}"
    return command if world.faults_given is None else f"{command} --faults {world.faults_given}"
