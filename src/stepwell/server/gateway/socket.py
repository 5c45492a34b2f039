"""Moves bytes between a WebSocket and its session, and wakes the session when something is due.

Bounds: a message has at most `MESSAGE_BYTES_MAX` bytes, whether in one frame or in fragments, and
before the worker authenticated there is less of everything (`strangers`). What comes after
something was refused is read and dropped, so that the peer gets to see its close frame, but not
for ever.
Calls wait while more than `UNSENT_HIGH_BYTES` are unsent; everything else is sent at once. A
worker that takes no byte for `WRITE_WAIT_MS` meanwhile, or that lets `UNSENT_BYTES_MAX` gather,
is failed: its calls go elsewhere.

Messages that came in one read are carried out together, and what they bring about is one write.
Source: docs/reference/wire/connect.md, "transport"; RFC 6455.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, assert_never

from stepwell.server.gateway import frames
from stepwell.server.gateway.connection import Connection
from stepwell.server.gateway.frame_reader import (
    Broken,
    Closed,
    FrameReader,
    Ping,
    Pong,
    TextBegan,
    TooLarge,
)
from stepwell.server.gateway.session import (
    GATEWAY_CLOSING,
    GOING_AWAY,
    Phase,
)
from stepwell.server.gateway.strangers import STRANGER_BYTES_MAX
from stepwell.server.gateway.upgrade import peer_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stepwell.server.gateway.clock import Timer
    from stepwell.server.gateway.connection import Shared
    from stepwell.server.gateway.facts import Output
    from stepwell.server.gateway.frame_reader import RareEvent
    from stepwell.server.gateway.session import Session
    from stepwell.server.gateway.strangers import Strangers

UNSENT_HIGH_BYTES = 2**20
UNSENT_BYTES_MAX = 16 * 2**20
"""The first, one call of the largest size, and some hundred thousand acknowledgements."""

DROPPED_BYTES_MAX = 32 * 2**20
"""Who has sent so much that nobody reads does not look at its close frame."""

WRITE_WAIT_MS = 5_000

LATE_WAIT_MS = 9_000
"""How long a socket that comes while the gateway leaves is kept before it is turned away.

A worker that is turned away at once asks again a second later, and each time counts for how long
it waits when the server is gone for a moment: the official TypeScript worker two minutes after
six, the official Python worker ends after five. Under ten seconds, so that it hears why.
"""

_NEVER_MS = 2**62

_log = logging.getLogger(__name__)


class Socket(asyncio.Protocol):
    """One WebSocket.

    Attributes:
        is_late: It came while the gateway leaves: nobody speaks to it before it is turned away.
    """

    def __init__(
        self,
        *,
        shared: Shared,
        session: Session,
        strangers: Strangers,
        on_opened: Callable[[Socket], None],
        on_ended: Callable[[Socket], None],
        is_late: bool = False,
    ) -> None:
        self.is_late = is_late
        self._shared = shared
        self._clock = shared.clock
        self._session = session
        self._strangers = strangers
        self._on_opened = on_opened
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self._tcp: asyncio.Transport | None = None
        self._connection: Connection | None = None
        self._reader = FrameReader(session.message_bytes_max)
        self._is_stranger = True  # until the worker has authenticated
        self._sent_bytes = 0  # by the worker until then
        self._dropped_bytes = 0  # that came when nothing was read any more
        self._will_send = False
        self._is_reading = True
        self._is_full = False  # the worker does not read as fast as we write
        self._timer: Timer | None = None
        self._timer_ms = _NEVER_MS
        self._stall_timer: Timer | None = None
        self._written_bytes = 0
        self._drained_bytes = 0  # when the stall timer was set

    # --- what the gateway asks ---

    def begin_drain(self) -> None:
        """Tell the worker that the gateway is leaving."""
        self._session.begin_drain(self._clock.now_ms())
        self._settle()

    def shut(self) -> None:
        """End now, with a close frame."""
        self._turn_away()
        self._session.shut(self._clock.now_ms())
        self._settle()

    def abort(self) -> None:
        """Cut TCP."""
        if self._tcp is not None:
            self._tcp.abort()

    # --- what the strangers ask: `Stranger` ---

    def make_room(self) -> None:
        """End now, with a reason on which the worker comes back."""
        self.is_late = False
        does_not_read = self.unsent_bytes > 0
        self._reader.end()
        try:
            self._session.make_room(self._clock.now_ms())
            self._settle()
            if does_not_read:  # TCP would wait for it
                self.abort()
        except Exception:
            self._fail("cannot close a socket")

    # --- what the connection asks: `Wire` ---

    def send_now(self) -> None:
        """Send the session's output."""
        self._will_send = False
        try:
            self._settle()
        except Exception:
            self._fail("cannot send")

    def send_soon(self) -> None:
        """Send the session's output once this turn of the loop is over."""
        if not self._will_send:
            self._will_send = True
            self._loop.call_soon(self._send_if_unsent)

    def pause_reading(self) -> None:
        """Leave in the network what the worker sends. Idempotent."""
        if self._is_reading and self._tcp is not None and not self._tcp.is_closing():
            self._is_reading = False
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Read on. Idempotent."""
        if not self._is_reading and self._tcp is not None and not self._tcp.is_closing():
            self._is_reading = True
            self._tcp.resume_reading()

    @property
    def unsent_bytes(self) -> int:
        """What waits for the worker to read."""
        return 0 if self._tcp is None else self._tcp.get_write_buffer_size()

    # --- what the loop calls ---

    def open(self, tcp: asyncio.Transport, headers: Mapping[str, str]) -> None:
        """TCP has become a WebSocket by a request with these headers."""
        self._tcp = tcp
        self._on_opened(self)
        peer = tcp.get_extra_info("peername")
        self._connection = Connection(
            shared=self._shared,
            session=self._session,
            wire=self,
            address=peer_address(headers, peer[0] if peer else ""),
        )
        try:
            tcp.set_write_buffer_limits(high=UNSENT_HIGH_BYTES)
            self._strangers.came(self, self._clock.now_ms())
            if self.is_late:
                due_ms = self._clock.now_ms() + LATE_WAIT_MS
                self._timer = self._clock.call_at(due_ms, self._turn_away)
            else:
                self._settle()
        except Exception:
            self._fail("cannot open a connection")

    def data_received(self, data: bytes) -> None:
        try:
            if self._is_stranger and not self._reader.is_over:
                self._count(len(data))
            if self._reader.is_over:
                self._drop(len(data))
            else:
                self._read(data)
        except Exception:  # ours: this connection ends, the others go on
            self._fail("cannot handle a message")

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        try:
            self._session.lost()
            if self._connection is not None:
                self._connection.carry(self._session.take_facts())
                self._connection.ended()
        except Exception:
            _log.exception("cannot end a connection")
        finally:
            self._reader.end()
            self._strangers.left(self)
            self._on_ended(self)

    def pause_writing(self) -> None:
        """Too much is unsent: it must get less before long."""
        self._is_full = True
        self._drained_bytes = self._written_bytes - self.unsent_bytes
        self._stall_timer = self._clock.call_at(
            self._clock.now_ms() + WRITE_WAIT_MS, self._on_stall
        )

    def resume_writing(self) -> None:
        """The worker has read."""
        self._is_full = False
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        self.send_soon()

    # --- before the worker authenticated ---

    def _turn_away(self) -> None:
        """The gateway leaves: tell a socket that came too late, with a reason to come back."""
        if not self.is_late:
            return
        self.is_late = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            self._session.turn_away(GOING_AWAY, GATEWAY_CLOSING, self._clock.now_ms())
            self._settle()
        except Exception:
            self._fail("cannot turn a socket away")

    def _count(self, count: int) -> None:
        """So many bytes came of a stranger."""
        self._turn_away()  # one that does not wait for the hello
        now_ms = self._clock.now_ms()
        self._sent_bytes += count
        self._strangers.sent(self, count, now_ms)
        if self._sent_bytes > STRANGER_BYTES_MAX:
            self._reader.end()
            self._session.receive_oversize(now_ms)
            self._settle()

    # --- in ---

    def _read(self, data: bytes) -> None:
        session = self._session
        now_ms = self._clock.now_ms()
        for event in self._reader.read(data):
            if isinstance(event, bytes):
                session.receive(event, now_ms)
                if self._is_stranger:
                    self._settle()  # more may come of a worker that has just authenticated
            else:
                self._on_rare(event, now_ms)
        self._settle()

    def _on_rare(self, event: RareEvent, now_ms: int) -> None:
        """Something came that is no message."""
        session = self._session
        match event:
            case Ping(payload):
                self._answer_ping(payload)
            case Pong():
                session.receive_pong(now_ms)
            case Closed(code, reason):
                self._settle()  # what it said before, it said before it left
                if self._connection is not None:
                    self._connection.goodbye()
                session.peer_closed(code, reason, now_ms)
            case Broken(code, text):
                session.receive_broken(text, now_ms, code)
            case TooLarge():
                session.receive_oversize(now_ms)
            case TextBegan():
                session.receive_garbage(now_ms)
            case _:
                assert_never(event)

    def _drop(self, count: int) -> None:
        self._dropped_bytes += count
        if self._dropped_bytes > DROPPED_BYTES_MAX:
            self.pause_reading()

    def _answer_ping(self, payload: bytes) -> None:
        # Of many pings only the last needs an answer, so a full buffer may swallow some.
        tcp = self._tcp
        if tcp is not None and not tcp.is_closing() and self.unsent_bytes < UNSENT_HIGH_BYTES:
            self._write(frames.pong_frame(payload))

    # --- out ---

    def _settle(self) -> None:
        """Carry facts, then send, then set the timer: in this order after every change."""
        connection = self._connection
        assert connection is not None, "a socket is settled from its opening on"
        facts = self._session.take_facts()
        if facts:
            if self._is_stranger and self._session.hello is not None:
                self._is_stranger = False
                self._reader.message_bytes_max = self._session.message_bytes_max
                self._strangers.left(self)
            connection.carry(facts)
        while True:
            if connection.calls_wait and not self._is_full:
                connection.release_calls(UNSENT_HIGH_BYTES - self.unsent_bytes)
            output = self._session.take_output()
            if output is None:
                break
            self._send(output)
        due_ms = self._session.next_wakeup_ms()
        # A timer that is set too early finds nothing due and is set again: so a session that
        # hears from its worker all the time moves no timer.
        if due_ms is not None and due_ms < self._timer_ms:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_ms = due_ms
            self._timer = self._clock.call_at(due_ms, self._on_timer)

    def _send_if_unsent(self) -> None:
        if self._will_send:
            self.send_now()

    def _send(self, output: Output) -> None:
        tcp = self._tcp
        assert tcp is not None, "nothing is sent before the socket is open"
        if not tcp.is_closing():
            if output.messages:
                self._write(frames.websocket_frames(output.messages))
            if output.ping:
                self._write(frames.PING_FRAME)
            if output.close is not None:
                self._write(frames.close_frame(output.close.code, output.close.reason))
                if self._reader.is_over and not output.end:
                    tcp.write_eof()  # the peer's close frame would not be read
        if output.end:
            if tcp.is_closing():
                tcp.abort()  # asked a second time: it does not end in good order
            else:
                tcp.close()

    def _write(self, data: bytes) -> None:
        assert self._tcp is not None, "nothing is written before the socket is open"
        self._written_bytes += len(data)
        self._tcp.write(data)
        if self.unsent_bytes > UNSENT_BYTES_MAX and self._session.phase < Phase.DISCONNECTING:
            _log.warning("a worker does not read", extra={"unsent_bytes": self.unsent_bytes})
            self._session.fail(self._clock.now_ms())
            self.send_soon()

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_ms = _NEVER_MS
        try:
            self._session.wake(self._clock.now_ms())
            self._settle()
        except Exception:
            self._fail("cannot wake a session")

    def _on_stall(self) -> None:
        self._stall_timer = None
        drained_bytes = self._written_bytes - self.unsent_bytes
        if drained_bytes > self._drained_bytes:  # slow, but it reads
            self.pause_writing()
            return
        _log.warning("a worker does not read", extra={"unsent_bytes": self.unsent_bytes})
        self._session.fail(self._clock.now_ms())
        self.send_soon()

    def _fail(self, what: str) -> None:
        """Our own code failed: log it and end this socket, through the session if it still can."""
        _log.exception(what)
        self._session.fail(self._clock.now_ms())
        output = self._session.take_output()
        if output is not None and output.close is not None:
            self._send(output)
        self._loop.call_soon(self.abort)
