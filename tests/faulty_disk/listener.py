"""Takes orders for the disk of this process, in a thread that costs nothing while none come."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import msgspec

from tests.faulty_disk.orders import Orders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faulty_disk.disk import Disk


@contextlib.contextmanager
def listening(disk: Disk, path: Path) -> Iterator[None]:
    """Take orders at the socket `path`; one that a killed process left there is replaced."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(
            target=_listen, args=(listener, disk), name="faulty-disk", daemon=True
        ).start()
        yield
    path.unlink(missing_ok=True)


def _listen(listener: socket.socket, disk: Disk) -> None:
    with contextlib.suppress(OSError):  # it was closed
        while True:
            connection, _ = listener.accept()
            with connection:
                _answer(connection, disk)


def _answer(connection: socket.socket, disk: Disk) -> None:
    with connection.makefile("rwb") as lines:
        orders = msgspec.json.decode(lines.readline(), type=Orders | None)
        if orders is not None:
            disk.obey(orders)
        lines.write(msgspec.json.encode(disk.report()) + b"\n")
