"""What a faulty disk is told to do, and how to tell it while its server runs.

The disk listens at a Unix socket: one JSON line is an order, and the answer to it is what the disk
did so far. An order holds when its answer is there.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

SOCKET = "FAULTY_DISK_SOCKET"
"""The environment variable with the path of the socket."""

ORDERS = "FAULTY_DISK_ORDERS"
"""The environment variable with the orders that hold from the start, as JSON."""

ANSWER_WAIT_S = 10.0

_ROOT = Path(__file__).parent.parent.parent

Refusal: TypeAlias = Literal["full", "fsync", "readonly"]


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """How the disk is from now on; as they are by default, it does what the real one does.

    Attributes:
        stall_ms: So much longer takes a sync; the program meets a stall where it waits for it.
        every_ms: The least time from the begin of one stall to that of the next; 0: each sync.
        stalls_max: So many stalls and no more.
        refuses: `full`: writes fail with SQLITE_FULL, `readonly`: with SQLITE_READONLY; `fsync`:
            syncs fail with SQLITE_IOERR_FSYNC, after their stall and without being done.
    """

    stall_ms: float = 0
    every_ms: float = 0
    stalls_max: int | None = None
    refuses: Refusal | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the disk did since its server began; `is_stalling`: a sync hangs right now."""

    stalls: int
    is_stalling: bool
    refusals: int


class FaultyDisk:
    """The disk of one server, from outside: gives it orders and asks what it did.

    Args:
        folder: Where the socket is made; its path must be short (100 characters).
        orders: What holds each time the server starts.
    """

    def __init__(self, folder: Path, orders: Orders | None = None) -> None:
        self._path = folder / "disk.sock"
        self._first = orders or Orders()

    @property
    def environ(self) -> dict[str, str]:
        """What the server's process needs; it runs the module `tests.faulty_disk`."""
        return {
            SOCKET: str(self._path),
            ORDERS: msgspec.json.encode(self._first).decode(),
            "PYTHONPATH": str(_ROOT),
        }

    def order(self, orders: Orders) -> Report:
        """Let it be so from now on.

        Raises:
            OSError: No server runs on this disk.
        """
        return self._ask(msgspec.json.encode(orders))

    def mend(self) -> Report:
        """Nothing stalls or fails any more. A sync that hangs hangs on to its end."""
        return self.order(Orders())

    def report(self) -> Report:
        """What it did so far; nothing changes.

        Raises:
            OSError: No server runs on this disk.
        """
        return self._ask(b"null")

    def _ask(self, line: bytes) -> Report:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_WAIT_S)
            connection.connect(str(self._path))
            connection.sendall(line + b"\n")
            with connection.makefile("rb") as answers:
                answer = answers.readline()
        if not answer:
            raise ConnectionError("the server ended before its disk answered")
        return msgspec.json.decode(answer, type=Report)
