"""The time of a simulated world: it stands while somebody works, and jumps when nobody does."""

from __future__ import annotations

START_S = 1_000.0
START_WALL_MS = 1_760_000_000_000


class VirtualClock:
    """A monotonic clock and a wall clock. Only the conductor moves them, and a fault the latter.

    Attributes:
        now_s: What every event loop takes for the time.
        jumped_ms: By how much the wall clock was set forward so far.
    """

    def __init__(self) -> None:
        self.now_s = START_S
        self.jumped_ms = 0

    def jump_to(self, when_s: float) -> None:
        """Let time pass. Never back."""
        self.now_s = max(self.now_s, when_s)

    def monotonic(self) -> float:
        return self.now_s

    def monotonic_ns(self) -> int:
        return int(self.now_s * 1_000_000) * 1_000

    def wall_s(self) -> float:
        return self.wall_ns() / 1e9

    def wall_ns(self) -> int:
        passed_ns = self.monotonic_ns() - int(START_S * 1_000_000_000)
        return (START_WALL_MS + self.jumped_ms) * 1_000_000 + passed_ns

    def wall_ms(self) -> int:
        return self.wall_ns() // 1_000_000

    @property
    def passed_ms(self) -> int:
        """Since the beginning, without the jumps of the wall clock."""
        return int((self.now_s - START_S) * 1_000)
