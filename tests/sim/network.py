"""What is between the server and its peers: messages take time, and some are lost, doubled,
overtaken by later ones, or so late that nobody waits for them any more.

Messages of one channel arrive in the order in which they were sent, unless a fault befalls one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sim.world import World

Direction: TypeAlias = Literal["to the server", "from the server"]

DIRECTIONS: tuple[Direction, ...] = ("to the server", "from the server")
MESSAGE_FATES = ("lost", "doubled", "reordered", "late")
MESSAGES: dict[Direction, tuple[str, ...]] = {
    "to the server": ("events", "ack", "checkpoint", "extension", "report"),
    "from the server": (
        "answer",
        "call",
        "checkpoint's answer",
        "extension's answer",
        "report's ack",
    ),
}

OVERTAKEN_MS = 400
"""A message that nothing follows for so long is delivered without having been overtaken."""


class _Channel:
    """One direction between two peers."""

    def __init__(self) -> None:
        self.last_at_ms = 0
        self.held: Callable[[], None] | None = None


class Network:
    """All channels of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._channels: dict[tuple[Direction, str], _Channel] = {}

    def send(
        self, direction: Direction, peer: str, message: str, deliver: Callable[[], None]
    ) -> None:
        """Bring a message to its receiver, or not.

        Args:
            peer: Whose channel it is.
            message: One of `MESSAGES`.
        """
        world = self._world
        channel = self._channels.setdefault((direction, peer), _Channel())
        fate = world.message_fate()
        label = f"{message} {direction} ({peer})"
        world.count[f"{message} {direction}"] += 1

        def arrive() -> None:
            deliver()
            held, channel.held = channel.held, None
            if held is not None:
                self._count("reordered", direction)
                world.later(0, f"overtaken {label}", held)

        if fate is not None:
            world.log(f"  {fate}: {label}")
        match fate:
            case "lost":
                self._count(fate, direction)
            case "late":
                self._count(fate, direction)
                world.later(2 * world.lease_ms + world.soon_ms(2_000), f"late {label}", deliver)
            case "reordered" if channel.held is None:
                self._hold(channel, label, deliver)
            case _:
                at_ms = max(channel.last_at_ms, world.now_ms + world.soon_ms(20))
                channel.last_at_ms = at_ms
                world.later(at_ms - world.now_ms, label, arrive)
                if fate == "doubled":
                    self._count(fate, direction)
                    again_ms = 500 if world.chance(0.5) else 5  # maybe into the same turn
                    world.later(world.soon_ms(again_ms), f"again {label}", deliver)

    def _hold(self, channel: _Channel, label: str, deliver: Callable[[], None]) -> None:
        channel.held = deliver

        def give_up() -> None:
            if channel.held is deliver:
                channel.held = None
                deliver()

        self._world.later(OVERTAKEN_MS, f"not overtaken {label}", give_up)

    def _count(self, fate: str, direction: Direction) -> None:
        self._world.count[f"{fate} {direction}"] += 1
