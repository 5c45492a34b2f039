"""What a worker is to connect, where, and how long it waits for what."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from stepwell.connect.hello import App
from stepwell.connect.reconnect import ReconnectPolicy


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long a worker waits for what; the defaults are for production.

    Attributes:
        flush_after_ms: Without a socket for so long, replies leave over HTTP.
        flush_again_ms: How long after a failed flush the next one may come.
        ack_wait_ms: At the end, how long replies may wait for their acknowledgement on the socket.
        hurry_ms: How long the rest may take when the worker was told twice to stop.
        blocked_after_ms: After how long a blocked event loop of the program is worth a warning.
    """

    flush_after_ms: int = 3_000
    flush_again_ms: int = 5_000
    ack_wait_ms: int = 5_000
    hurry_ms: int = 2_000
    blocked_after_ms: int = 5_000


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to connect, and where."""

    apps: tuple[App, ...]
    instance_id: str
    env: str | None
    max_worker_concurrency: int
    rewrite_gateway_endpoint: Callable[[str], str] | None
    reconnect: ReconnectPolicy
    timing: Timing
