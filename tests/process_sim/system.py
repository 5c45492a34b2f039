"""What code takes from the system by itself: here it takes it from the simulation.

Ours gets its clock and its chance from constructors where it can; libraries ask the modules of the
standard library. So those are replaced while a simulation runs, and only then.
"""

from __future__ import annotations

import os
import random as chances
import secrets
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import uvicorn.server
from aiohttp import connector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from tests.process_sim.conductor import Conductor


class _InOrder(dict[Any, None]):
    """A set whose order is that of coming."""

    def add(self, item: Any) -> None:
        self[item] = None

    def discard(self, item: Any) -> None:
        self.pop(item, None)


class _State(uvicorn.server.ServerState):
    """Uvicorn's: it goes through its connections when it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.connections = cast("set[Any]", _InOrder())
        self.tasks = cast("set[Any]", _InOrder())


@contextmanager
def simulated_system(conductor: Conductor, random: Random) -> Iterator[None]:
    """Time, chance and sockets come from the simulation inside of this."""
    clock, network = conductor.clock, conductor.network
    before = chances.getstate()
    chances.seed(random.getrandbits(64))

    def some_bytes(count: int | None = None) -> bytes:
        return random.randbytes(32 if count is None else count)

    with ExitStack() as patches:
        for module, name, instead in (
            (socket, "socket", network.new_socket),
            (threading, "get_ident", lambda: conductor.thread),
            (time, "time", clock.wall_s),
            (time, "time_ns", clock.wall_ns),
            (time, "monotonic", clock.monotonic),
            (time, "monotonic_ns", clock.monotonic_ns),
            (connector, "monotonic", clock.monotonic),
            (os, "urandom", some_bytes),
            (secrets, "token_bytes", some_bytes),
            (secrets, "token_hex", lambda count=None: some_bytes(count).hex()),
            (secrets, "randbits", random.getrandbits),
            (uvicorn.server, "ServerState", _State),
        ):
            patches.enter_context(patch.object(module, name, instead))
        try:
            yield
        finally:
            chances.setstate(before)
