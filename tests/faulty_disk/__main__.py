"""`python -m tests.faulty_disk`: the command line of Stepwell on a disk that goes wrong by order.

Its arguments are those of `python -m stepwell.cli`; `orders` says what the environment holds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from stepwell.cli.main import main
from tests.faulty_disk.disk import Disk
from tests.faulty_disk.listener import listening
from tests.faulty_disk.orders import ORDERS, SOCKET, Orders


def run() -> int:
    disk = Disk()
    disk.obey(msgspec.json.decode(os.environ.get(ORDERS, "{}"), type=Orders))
    try:
        with listening(disk, Path(os.environ[SOCKET])):
            return main()
    finally:
        disk.remove()


if __name__ == "__main__":
    sys.exit(run())
