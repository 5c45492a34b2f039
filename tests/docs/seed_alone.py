"""The first block against `stepwell dev` as it is typed: `INNGEST_DEV=1`, ports 8288 and 8289.

`python -m tests.docs.seed_alone DIRECTORY SIDE...` must have a network of its own, as `unshare`
gives it, for those ports may be taken on the machine.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
from pathlib import Path

from tests.compat.api import Api
from tests.docs.seed_sides import SIDES, snippet
from tests.docs.seed_workers import check
from tests.server_process import ServerProcess

API, GATEWAY = "http://127.0.0.1:8288", "ws://127.0.0.1:8289/v0/connect"
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_IFREQ = "16sH22x"


def bring_up_loopback() -> None:
    """A new network has it, but down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack(_IFREQ, b"lo", 0)
        name, flags = struct.unpack(_IFREQ, fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack(_IFREQ, name, flags | _IFF_UP))


def main() -> int:
    scratch, names = Path(sys.argv[1]), sys.argv[2:]
    bring_up_loopback()
    ports = ("--port", "8288", "--connect-gateway-port", "8289")  # their defaults
    with ServerProcess(*ports, data_dir=scratch / "data") as server:
        assert (server.api_url, server.gateway_url) == (API, GATEWAY)
        api = Api(lambda: server.api_url)
        for side in (each for each in SIDES if each.name in names):
            directory = scratch / side.name
            directory.mkdir()
            block = snippet(side, "getting_started")
            with side.worker(block, directory, {"INNGEST_DEV": "1"}) as worker:
                check(api, worker, block)
    return 0


if __name__ == "__main__":
    sys.exit(main())
