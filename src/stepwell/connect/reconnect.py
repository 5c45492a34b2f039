"""How a worker that lost its server tries to get it back: what a program can say about that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Literal, TypeAlias

import msgspec

from stepwell.errors import ConfigError, StepwellError

BASE_MS = 250
CAP_MS = 30_000

OnError: TypeAlias = Callable[[StepwellError, int], object]


class ReconnectPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The pauses between attempts to connect, and when to stop trying.

    The pause grows from `base` by doubling, up to `cap`. An attempt has failed when no handshake
    came of it; a connection that is made starts the count again.

    Attributes:
        base: The longest first pause; milliseconds or a `timedelta`.
        cap: The longest pause of all.
        jitter: Which part of a pause is left to chance, so that a fleet does not come back in
            step: `"full"` draws from nothing to the whole, `"none"` takes the whole, and 0.2 draws
            from its last fifth.
        attempts: How many may fail in a row; then `start()` raises `reconnect_given_up`. None: any
            number.
        on_error: Called with the error and its number, from 1, after each failed attempt that
            would be followed by another. If it returns False, that other one is not made and
            `start()` raises `reconnect_given_up`; if it raises, so does `start()`. It runs on the
            thread that keeps the leases: it must not block.
    """

    base: int | timedelta = BASE_MS
    cap: int | timedelta = CAP_MS
    jitter: float | Literal["full", "none"] = "full"
    attempts: int | None = None
    on_error: OnError | None = None

    def __post_init__(self) -> None:
        if not 0 < self.base_ms <= self.cap_ms:
            raise ConfigError(
                f"reconnect: base is {self.base_ms} ms and cap {self.cap_ms} ms; base must be more "
                "than 0, and cap at least as much"
            )
        _ = self.jitter_part
        attempts = self.attempts
        if attempts is not None and (
            not isinstance(attempts, int) or isinstance(attempts, bool) or attempts < 1
        ):
            raise ConfigError(
                f"reconnect: attempts is {attempts!r}; it must be a whole number from 1, or None "
                "for as many as it takes"
            )
        if self.on_error is not None and not callable(self.on_error):
            raise ConfigError(
                f"reconnect: on_error is {self.on_error!r}; it must be a function that takes the "
                "error and the number of the attempt"
            )

    @property
    def base_ms(self) -> int:
        return _ms("base", self.base)

    @property
    def cap_ms(self) -> int:
        return _ms("cap", self.cap)

    @property
    def jitter_part(self) -> float:
        """From 0 to 1."""
        if self.jitter == "full":
            return 1.0
        if self.jitter == "none":
            return 0.0
        if isinstance(self.jitter, bool | str) or not 0 <= self.jitter <= 1:
            raise ConfigError(
                f'reconnect: jitter is {self.jitter!r}; it must be "full", "none", or a part from '
                "0 to 1"
            )
        return float(self.jitter)


def _ms(what: str, given: int | timedelta) -> int:
    if isinstance(given, timedelta):
        return given // timedelta(milliseconds=1)
    if not isinstance(given, int) or isinstance(given, bool):
        raise ConfigError(
            f"reconnect: {what} takes whole milliseconds or a timedelta, this is {given!r}; write "
            "timedelta(seconds=1), for example"
        )
    return given
