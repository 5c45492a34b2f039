"""Checkpointing: a call runs step after step, and reports each as it goes.

Without it a call runs one step and ends, and the server calls again. How much a call may have done
that the server does not know of yet is the function's to say; if the process dies, those steps run
again. Source: docs/reference/wire/checkpoints.md, "SDK".
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal, TypeAlias

import msgspec

from stepwell.errors import ConfigError
from stepwell.wire.durations import format_duration

BUFFERED_STEPS_MAX: Final = 1_000
"""One report has no more operations."""

BUFFERED_BYTES_MAX: Final = 4 * 2**20


def _check_count(name: str, given: object, most: int) -> None:
    if not isinstance(given, int) or isinstance(given, bool) or not 1 <= given <= most:
        raise ConfigError(f"{name} is {given!r}; it must be a whole number from 1 to {most}")


def _milliseconds(name: str, given: int | timedelta) -> int:
    ms = given // timedelta(milliseconds=1) if isinstance(given, timedelta) else given
    if not isinstance(ms, int) or isinstance(ms, bool) or ms < 0:
        raise ConfigError(
            f"{name} is {given!r}; it must be a number of milliseconds or a timedelta, 0 or more"
        )
    return ms


class Checkpointing(msgspec.Struct, frozen=True, kw_only=True):
    """When finished steps are reported.

    Durations are milliseconds or a `timedelta`.

    Attributes:
        buffered_steps: So many finished steps are reported together; 1: each step is durable
            before the next one begins.
        max_interval: A finished step is reported after so long at the latest; 0: it may wait
            until the buffer is full.
        max_bytes: And when the buffered results have so many bytes.
        max_runtime: After so long a call begins no further step and ends; the server calls again.
            None: 10 seconds for functions that are served over HTTP, where something in between
            may cut long requests, and 5 minutes over Connect. 0: no limit.
    Raises:
        ConfigError: A value is none that can be.
    """

    buffered_steps: int = 1
    max_interval: int | timedelta = 0
    max_bytes: int = 1 * 2**20
    max_runtime: int | timedelta | None = None

    def __post_init__(self) -> None:
        _check_count("buffered_steps", self.buffered_steps, BUFFERED_STEPS_MAX)
        _check_count("max_bytes", self.max_bytes, BUFFERED_BYTES_MAX)
        _milliseconds("max_interval", self.max_interval)
        if self.max_runtime is not None:
            _milliseconds("max_runtime", self.max_runtime)

    @property
    def max_interval_ms(self) -> int:
        """0 for no limit."""
        return _milliseconds("max_interval", self.max_interval)

    def max_runtime_ms(self, default_ms: int) -> int:
        """0 for no limit."""
        if self.max_runtime is None:
            return default_ms
        return _milliseconds("max_runtime", self.max_runtime)

    def configuration(self) -> dict[str, Any]:
        """What a server is told of it, which shows it and does not act on it."""
        fields: dict[str, Any] = {"batch_steps": self.buffered_steps}
        if self.max_interval_ms:
            fields["batch_interval"] = format_duration(self.max_interval_ms)
        if self.max_runtime is not None:
            fields["max_runtime"] = format_duration(self.max_runtime_ms(0))
        return fields


SAFE: Final = Checkpointing()
"""Each step is durable before the next one begins."""

BLENDED: Final = Checkpointing(buffered_steps=3, max_interval=3_000)
"""Three steps or three seconds may have to be run again after a crash."""

PERFORMANT: Final = Checkpointing(buffered_steps=1_000, max_interval=1_000)
"""A second of work may have to be run again after a crash."""

CheckpointingOption: TypeAlias = bool | Literal["safe", "blended", "performant"] | Checkpointing
"""`True` is `SAFE`, `False` none."""

_PRESETS: Final = {"safe": SAFE, "blended": BLENDED, "performant": PERFORMANT}


def read_checkpointing(option: CheckpointingOption | None) -> Checkpointing | None:
    """What an option says; None: no checkpointing.

    Raises:
        ConfigError: It is none of the options.
    """
    if isinstance(option, Checkpointing):
        return option
    if option is None or option is False:
        return None
    if option is True:
        return SAFE
    if isinstance(option, str) and option in _PRESETS:
        return _PRESETS[option]
    raise ConfigError(
        f"checkpointing is {option!r}; it must be True, False, 'safe', 'blended', 'performant' or "
        "a stepwell.Checkpointing"
    )
