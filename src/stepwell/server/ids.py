"""New ids: ULIDs that ascend, from the system's randomness."""

from __future__ import annotations

import secrets

from stepwell.wire.ids import ulid_bytes

_STEP_BITS = 48  # Ids of one millisecond are this far apart at random, so none can be guessed.


class SystemIds:
    """An `IdSource`. Each id is greater than the one before, whatever the clock does."""

    def __init__(self) -> None:
        self._ms = -1
        self._entropy = 0

    def ulid(self, ms: int) -> bytes:
        """Return 16 fresh bytes whose first six are `ms`, or a later time that was used before."""
        if ms > self._ms:
            self._ms = ms
            self._entropy = secrets.randbits(79)  # one bit of room to ascend
        else:
            self._entropy += 1 + secrets.randbits(_STEP_BITS)
            if self._entropy >= 1 << 80:
                self._ms += 1
                self._entropy = secrets.randbits(79)
        return ulid_bytes(self._ms, self._entropy.to_bytes(10, "big"))
