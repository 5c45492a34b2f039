"""New ids: ULIDs that ascend, from the system's randomness."""

from __future__ import annotations

import secrets

_STEP_BYTES = 6  # Ids of one millisecond are this far apart at random, so none can be guessed.
_STEPS_AT_ONCE = 512
"""The system is asked for so many steps at once: a call of it for each costs more than the id."""


class SystemIds:
    """An `IdSource`. Each id is greater than the one before, whatever the clock does."""

    def __init__(self) -> None:
        self._ms = -1
        self._entropy = 0
        self._steps: list[int] = []

    def ulid(self, ms: int) -> bytes:
        """Return 16 fresh bytes whose first six are `ms`, or a later time that was used before."""
        if ms > self._ms:
            self._ms = ms
            self._entropy = secrets.randbits(79)  # one bit of room to ascend
        else:
            if not self._steps:
                self._steps = _random_steps()
            self._entropy += 1 + self._steps.pop()
            if self._entropy >= 1 << 80:
                self._ms += 1
                self._entropy = secrets.randbits(79)
        return (self._ms << 80 | self._entropy).to_bytes(16, "big")


def _random_steps() -> list[int]:
    random = secrets.token_bytes(_STEP_BYTES * _STEPS_AT_ONCE)
    return [
        int.from_bytes(random[start : start + _STEP_BYTES], "big")
        for start in range(0, len(random), _STEP_BYTES)
    ]
