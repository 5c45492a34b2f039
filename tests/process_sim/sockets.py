"""Sockets of the simulated network, as asyncio and its users see them: they never block."""

from __future__ import annotations

import errno
import os
import socket as sockets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import deque

    from tests.process_sim.network import Line, Network

SEND_BUFFER_BYTES = 256 * 2**10
"""What a system takes of one connection before it makes the sender wait."""

Address = tuple[str, int]


class End:
    """One end of a connection, or a place where others connect: what the system has of a socket.

    Attributes:
        host: The process that it belongs to.
        error: Why it is broken; 0 while it is not.
        backlog: Who has connected, if this end listens.
        users: The sockets that share it.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.name: Address = ("0.0.0.0", 0)
        self.peer_name: Address | None = None
        self.line: Line | None = None
        self.users = 1
        self.is_connecting = False
        self.error = 0
        self.backlog: deque[End] | None = None
        self.in_flight_bytes = 0
        self.inbox = bytearray()
        self.has_eof = False
        self.has_sent_eof = False

    @property
    def is_closed(self) -> bool:
        return self.users == 0

    @property
    def is_readable(self) -> bool:
        return bool(self.inbox or self.has_eof or self.error or self.backlog)

    @property
    def is_writable(self) -> bool:
        if self.error:
            return True
        room = self.in_flight_bytes < SEND_BUFFER_BYTES
        return room and self.line is not None and not self.is_connecting

    def arrived(self, data: bytes) -> None:
        """Bytes came; an empty piece is the end of the stream."""
        if data:
            self.inbox += data
        else:
            self.has_eof = True

    def broken(self, error: int) -> None:
        """The connection is no more. What arrived before can still be read."""
        self.error = self.error or error
        self.is_connecting = False


class SimSocket:
    """A TCP socket. Made by the network, in the place of `socket.socket`.

    Its number is one that no file of the real process has: code that passes it to the system by
    itself gets an error, and falls back on what asyncio offers.
    """

    family = sockets.AF_INET
    type = sockets.SOCK_STREAM
    proto = 0

    def __init__(self, network: Network, number: int, end: End) -> None:
        self.end = end
        self._network = network
        self._number = number
        self._is_closed = False

    def fileno(self) -> int:
        return -1 if self._is_closed else self._number

    def setblocking(self, flag: bool) -> None:
        assert not flag, "nobody may wait in the simulation"

    def gettimeout(self) -> float:
        return 0.0

    def setsockopt(self, *_option: Any) -> None:
        """Changes nothing here."""

    def getsockopt(self, level: int, option: int, *_size: int) -> int:
        if (level, option) == (sockets.SOL_SOCKET, sockets.SO_ERROR):
            return self.end.error
        return 0

    def getsockname(self) -> Address:
        return self.end.name

    def getpeername(self) -> Address:
        if self.end.peer_name is None:
            raise _os_error(errno.ENOTCONN)
        return self.end.peer_name

    def bind(self, address: Address) -> None:
        self.end.name = self._network.bound(address)

    def listen(self, _backlog: int = 0) -> None:
        self._network.listens(self.end)

    def accept(self) -> tuple[SimSocket, Address]:
        if not self.end.backlog:
            raise BlockingIOError(errno.EAGAIN, "nobody has come")
        end = self.end.backlog.popleft()
        assert end.peer_name is not None, "who has come has a name"
        return self._network.socket_of(end), end.peer_name

    def connect(self, address: Address) -> None:
        self.end.is_connecting = True
        self._network.connects(self.end, address)
        raise BlockingIOError(errno.EINPROGRESS, "under way")

    def send(self, data: Any, _flags: int = 0) -> int:
        self._check()
        end = self.end
        if end.has_sent_eof:
            raise _os_error(errno.EPIPE)
        assert end.line is not None, "an open socket has a line"
        room = SEND_BUFFER_BYTES - end.in_flight_bytes
        if room <= 0:
            raise BlockingIOError(errno.EAGAIN, "the buffer is full")
        taken = bytes(memoryview(data)[:room])
        if taken:
            end.line.sends(end, taken)
        return len(taken)

    def sendmsg(self, buffers: Any) -> int:
        return self.send(b"".join(bytes(buffer) for buffer in buffers))

    def recv(self, size: int, flags: int = 0) -> bytes:
        inbox = self.end.inbox
        if not inbox:
            self._check()
            if self.end.has_eof:
                return b""
            raise BlockingIOError(errno.EAGAIN, "nothing has come")
        data = bytes(inbox[:size])
        if not flags & sockets.MSG_PEEK:
            del inbox[:size]
        return data

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        data = self.recv(size or len(buffer), flags)
        buffer[: len(data)] = data
        return len(data)

    def shutdown(self, how: int) -> None:
        self._check()
        if how != sockets.SHUT_WR:
            self.end.has_eof = True
        if how != sockets.SHUT_RD:
            self._network.ends_stream(self.end)

    def dup(self) -> SimSocket:
        self._check()
        self.end.users += 1
        return self._network.socket_of(self.end)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._network.forget(self._number)
            self.end.users -= 1
            if self.end.is_closed:
                self._network.closes(self.end)

    def __enter__(self) -> SimSocket:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _check(self) -> None:
        if self._is_closed:
            raise _os_error(errno.EBADF)
        if self.end.error:
            raise _os_error(self.end.error)
        if self.end.line is None:
            raise _os_error(errno.ENOTCONN)


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
