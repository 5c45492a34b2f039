"""The chain of attempts to connect: pauses between them, what the log says, and when to stop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from stepwell.connect.backoff import Backoff
from stepwell.errors import StepwellError

if TYPE_CHECKING:
    from stepwell.connect.reconnect import ReconnectPolicy

GIVEN_UP = "reconnect_given_up"

_log = logging.getLogger("stepwell.connect")


class Attempts:
    """What a `ReconnectPolicy` makes of failures. On the protocol's thread."""

    def __init__(self, policy: ReconnectPolicy) -> None:
        self._policy = policy
        self._backoff = Backoff(policy)
        self._failed = 0  # in a row
        self._told: set[str] = set()  # failures that were logged since the last success

    async def pause(self, *, at_once: bool) -> None:
        """Wait until the next attempt is due."""
        await asyncio.sleep(self._backoff.next_delay_ms(at_once=at_once) / 1000)

    def failed(self, error: StepwellError) -> None:
        """An attempt has failed in a way that another one may mend.

        Each reason is a warning once until a connection succeeds.

        Raises:
            StepwellError: `reconnect_given_up`: the policy wants no other one.
            Exception: Whatever its hook raises.
        """
        self._failed += 1
        policy = self._policy
        if policy.attempts is not None and self._failed >= policy.attempts:
            raise _given_up(self._failed, error) from error
        if policy.on_error is not None and policy.on_error(error, self._failed) is False:
            raise _given_up(self._failed, error) from error
        text = str(error)
        level = logging.DEBUG if text in self._told else logging.WARNING
        self._told.add(text)
        _log.log(level, "%s; trying again", text)

    def succeeded(self) -> None:
        """A handshake is complete."""
        self._failed = 0
        self._told.clear()

    def ended(self, held_ms: int) -> None:
        """A connection has ended after so long."""
        self._backoff.ended(held_ms)


def _given_up(failed: int, error: StepwellError) -> StepwellError:
    times = "1 attempt" if failed == 1 else f"{failed} attempts in a row"
    return StepwellError(
        f"gave up connecting after {times}, as the reconnection policy says: {error}",
        code=GIVEN_UP,
        status=503,
    )
