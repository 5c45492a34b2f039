"""The simulated network: lines between sockets, on which bytes take time, and what befalls them.

TCP as programs see it: bytes arrive in order and in pieces of any size; a connection that is reset
is broken at both ends, with what arrived before still to be read; one that is silent delivers
nothing, whatever is sent or closed, and says so to nobody. A process that dies closes its sockets;
a machine that dies does not.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from tests.process_sim.sockets import Address, End, SimSocket

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from random import Random

    from tests.process_sim.clock import VirtualClock

FIRST_NUMBER = 1_000_000_000
FIRST_PORT = 40_000
FOREVER_S = 1e12


class Line:
    """One connection: its two ends, and what is under way between them.

    Attributes:
        silent_until_s: Nothing is delivered before.
    """

    def __init__(self, network: Network, ends: tuple[End, End]) -> None:
        self.ends = ends
        self.silent_until_s = 0.0
        self._network = network
        self._under_way: tuple[deque[tuple[float, bytes]], ...] = (deque(), deque())

    @property
    def is_open(self) -> bool:
        return not any(end.is_closed or end.error for end in self.ends)

    def other(self, end: End) -> End:
        return self.ends[1] if end is self.ends[0] else self.ends[0]

    def sends(self, end: End, data: bytes) -> None:
        """Bytes leave; an empty piece ends the stream."""
        network = self._network
        network.traced(end, data)
        for piece in network.cut_up(data):
            queue = self._queue(end)
            due_s = network.arrival_s()
            if queue:
                due_s = max(due_s, queue[-1][0])
            queue.append((due_s, piece))
            end.in_flight_bytes += len(piece)
            network.later(due_s, lambda: self._deliver(end))

    def be_silent(self, seconds: float, *, then_reset: bool) -> None:
        """Deliver nothing for so long; then go on, or break."""
        until_s = self._network.clock.now_s + seconds
        self.silent_until_s = max(self.silent_until_s, until_s)

        def over() -> None:
            if self._network.clock.now_s < self.silent_until_s:
                return
            if then_reset:
                self.reset()
            for end in self.ends:
                self._deliver(end)

        self._network.later(self.silent_until_s, over)

    def reset(self) -> None:
        """Break, after any byte of what is under way."""
        random = self._network.random
        for end in self.ends:
            queue = self._queue(end)
            whole = b"".join(piece for _due_s, piece in queue)
            some = whole[: random.randint(0, len(whole))]
            queue.clear()
            end.in_flight_bytes = 0
            if some and not self.other(end).is_closed:
                self.other(end).arrived(some)
        for end in self.ends:
            end.broken(errno.ECONNRESET)

    def _deliver(self, end: End) -> None:
        """What was sent at `end` and is due arrives at the other one."""
        network = self._network
        if network.clock.now_s < self.silent_until_s:
            return
        queue, peer = self._queue(end), self.other(end)
        while queue and queue[0][0] <= network.clock.now_s:
            _due_s, piece = queue.popleft()
            end.in_flight_bytes -= len(piece)
            if peer.is_closed:
                # Its system answers for it that nobody is there.
                queue.clear()
                end.in_flight_bytes = 0
                if piece:
                    end.broken(errno.ECONNRESET)
                return
            peer.arrived(piece)

    def _queue(self, end: End) -> deque[tuple[float, bytes]]:
        return self._under_way[0 if end is self.ends[0] else 1]


class Network:
    """All hosts are reachable under one address, by their ports.

    Args:
        trace: Told of all that leaves a socket.
    """

    def __init__(
        self,
        clock: VirtualClock,
        random: Random,
        count: Counter[str],
        trace: Callable[[str], None],
    ) -> None:
        self.clock = clock
        self.random = random
        self.host = ""
        """Whose code runs: sockets that are made now are its."""
        self.sockets: dict[int, SimSocket] = {}
        self.lines: list[Line] = []
        self.slow_until_s = 0.0
        self._count = count
        self._trace = trace
        self._listeners: dict[int, End] = {}
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._seq = 0
        self._numbers = FIRST_NUMBER
        self._ports = FIRST_PORT
        self._cut_off_until_s: dict[str, float] = {}

    # --- what the conductor asks ---

    def next_due_s(self) -> float | None:
        return self._agenda[0][0] if self._agenda else None

    def act(self) -> None:
        """Let happen what is due."""
        while self._agenda and self._agenda[0][0] <= self.clock.now_s:
            heappop(self._agenda)[2]()

    def later(self, due_s: float, act: Callable[[], None]) -> None:
        self._seq += 1
        heappush(self._agenda, (due_s, self._seq, act))

    # --- faults ---

    def open_lines(self, host: str | None = None) -> list[Line]:
        """Connections that are up, of one host or of all."""
        self.lines = [line for line in self.lines if line.is_open]
        return [
            line for line in self.lines if host is None or host in (end.host for end in line.ends)
        ]

    def cut_off(self, host: str, seconds: float, *, then_reset: bool) -> None:
        """A host reaches nobody for so long: its connections are silent, and it opens no other."""
        self._cut_off_until_s[host] = self.clock.now_s + seconds
        for line in self.open_lines(host):
            line.be_silent(seconds, then_reset=then_reset)

    def died(self, host: str, *, silently: bool) -> None:
        """A process is gone; silently, if its machine went with it."""
        for socket in [one for one in self.sockets.values() if one.end.host == host]:
            if silently and socket.end.line is not None:
                socket.end.line.silent_until_s = FOREVER_S
            socket.close()

    # --- chance ---

    def arrival_s(self) -> float:
        """When something arrives that leaves now."""
        latency_s = self.random.choice((0.0001, 0.0002, 0.0005, 0.002))
        if self.clock.now_s < self.slow_until_s:
            latency_s = self.random.uniform(0.05, 0.8)
        return self.clock.now_s + latency_s

    def cut_up(self, data: bytes) -> list[bytes]:
        """The pieces in which it arrives."""
        if len(data) < 2 or self.random.random() >= 0.05:
            return [data]
        self._count["write in pieces"] += 1
        places = sorted({self.random.randrange(1, len(data)) for _ in range(3)})
        return [
            data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)
        ]

    # --- what sockets ask ---

    def new_socket(self, *_family: Any, **_named: Any) -> SimSocket:
        """In the place of `socket.socket(...)`."""
        return self.socket_of(End(self.host))

    def socket_of(self, end: End) -> SimSocket:
        self._numbers += 1
        socket = self.sockets[self._numbers] = SimSocket(self, self._numbers, end)
        return socket

    def forget(self, number: int) -> None:
        self.sockets.pop(number, None)

    def traced(self, end: End, data: bytes) -> None:
        if data.startswith(b"POST /v0/connect/flush"):
            self._count["reply over HTTP"] += 1
        peer = end.peer_name[1] if end.peer_name else 0
        self._trace(f"{end.host} {end.name[1]}>{peer} {data!r}")

    def bound(self, address: Address) -> Address:
        host, port = address[0], address[1]
        if port == 0:
            self._ports += 1
            port = self._ports
        if port in self._listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return host, port

    def listens(self, end: End) -> None:
        end.backlog = deque() if end.backlog is None else end.backlog
        self._listeners[end.name[1]] = end

    def connects(self, end: End, address: Address) -> None:
        """A handshake begins; its end shows in the socket."""
        until_s = self._cut_off_until_s.get(end.host, 0.0)
        if self.clock.now_s < until_s:
            self._count["connect into nothing"] += 1
            self.later(until_s, lambda: end.broken(errno.ETIMEDOUT))
        else:
            self.later(self.arrival_s(), lambda: self._answer(end, address))

    def ends_stream(self, end: End) -> None:
        if end.line is not None and not end.has_sent_eof:
            end.has_sent_eof = True
            end.line.sends(end, b"")

    def closes(self, end: End) -> None:
        if self._listeners.get(end.name[1]) is end:
            del self._listeners[end.name[1]]
        for waiting in end.backlog or ():
            waiting.users = 0
            self.closes(waiting)
        line = end.line
        if line is None or end.error:
            return
        if end.inbox and self.clock.now_s >= line.silent_until_s:
            # Its system says that something was not read.
            self.later(self.arrival_s(), lambda: line.other(end).broken(errno.ECONNRESET))
        else:
            self.ends_stream(end)

    def _answer(self, end: End, address: Address) -> None:
        if end.is_closed:
            return
        listener = self._listeners.get(address[1])
        if listener is None or listener.backlog is None:
            self._count["connect refused"] += 1
            end.broken(errno.ECONNREFUSED)
            return
        self._ports += 1
        accepted = End(listener.host)
        end.name, end.peer_name = ("127.0.0.1", self._ports), address
        accepted.name, accepted.peer_name = address, end.name
        end.line = accepted.line = Line(self, (end, accepted))
        end.is_connecting = False
        self.lines.append(end.line)
        listener.backlog.append(accepted)
