"""Moves bytes between a WebSocket and its session, and wakes the session when something is due.

Bounds: a message has at most `MESSAGE_BYTES_MAX` bytes, whether in one frame or in fragments, and
before the worker authenticated there is less of everything (`strangers`).
Calls wait while more than `UNSENT_HIGH_BYTES` are unsent; everything else is sent at once. A
worker that takes no byte for `WRITE_WAIT_MS` meanwhile, or that lets `UNSENT_BYTES_MAX` gather,
is failed: its calls go elsewhere.

The frames are parsed by picows, which calls `on_ws_frame` for each; what it refuses by itself
(a broken header, a frame over the limit) it answers with a close frame of its own.
Source: docs/reference/wire/connect.md, "transport"; RFC 6455.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from picows import WSCloseCode, WSListener, WSMsgType

from stepwell.server.gateway import frames
from stepwell.server.gateway.connection import Connection
from stepwell.server.gateway.session import MESSAGE_TOO_LARGE, Phase
from stepwell.server.gateway.strangers import STRANGER_BYTES_MAX, Guard
from stepwell.server.gateway.upgrade import peer_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from picows import WSFrame, WSTransport

    from stepwell.server.gateway.clock import Timer
    from stepwell.server.gateway.connection import Shared
    from stepwell.server.gateway.facts import Output
    from stepwell.server.gateway.session import Session
    from stepwell.server.gateway.strangers import Strangers

UNSENT_HIGH_BYTES = 2**20
UNSENT_BYTES_MAX = 16 * 2**20
"""The first, one call of the largest size, and some hundred thousand acknowledgements."""

WRITE_WAIT_MS = 5_000

_NEVER_MS = 2**62

_log = logging.getLogger(__name__)


class Socket(WSListener):
    """One WebSocket."""

    def __init__(
        self,
        *,
        shared: Shared,
        session: Session,
        strangers: Strangers,
        on_opened: Callable[[Socket], None],
        on_ended: Callable[[Socket], None],
    ) -> None:
        super().__init__()
        self._shared = shared
        self._clock = shared.clock
        self._session = session
        self._strangers = strangers
        self._on_opened = on_opened
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self._tcp: asyncio.Transport | None = None
        self._connection: Connection | None = None
        self._guard: Guard | None = None  # until the worker has authenticated
        self._sent_bytes = 0  # by the worker until then
        self._parts = bytearray()  # of a message that comes in fragments, however many
        self._in_fragments = False
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
        self._session.shut(self._clock.now_ms())
        self._settle()

    def abort(self) -> None:
        """Cut TCP."""
        if self._tcp is not None:
            self._tcp.abort()

    # --- what the strangers ask: `Stranger` ---

    def make_room(self) -> None:
        """End now, with a reason on which the worker comes back."""
        does_not_read = self.unsent_bytes > 0
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

    # --- what picows calls ---

    def on_ws_connected(self, transport: WSTransport) -> None:
        tcp = self._tcp = transport.underlying_transport
        self._on_opened(self)
        peer = tcp.get_extra_info("peername")
        self._connection = Connection(
            shared=self._shared,
            session=self._session,
            wire=self,
            address=peer_address(transport.request.headers, peer[0] if peer else ""),
        )
        try:
            tcp.set_write_buffer_limits(high=UNSENT_HIGH_BYTES)
            self._guard = Guard(tcp, self._admits)
            self._strangers.came(self, self._clock.now_ms())
            self._settle()
        except Exception:
            self._fail("cannot open a connection")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if transport.is_close_frame_sent:
            return  # picows refused something: what follows it means nothing
        try:
            if (
                frame.msg_type == WSMsgType.BINARY
                and frame.fin
                and not (self._in_fragments or frame.rsv1 or frame.rsv2 or frame.rsv3)
            ):
                self._session.receive(frame.get_payload_as_bytes(), self._clock.now_ms())
            else:
                self._on_rare_frame(frame)
            self._settle()
        except Exception:  # ours: this connection ends, the others go on
            self._fail("cannot handle a message")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        for timer in (self._timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        # Sent by picows itself: ours do not pass through it.
        refusal = transport.close_handshake.sent if transport.close_handshake else None
        too_large = refusal is not None and refusal.code == WSCloseCode.MESSAGE_TOO_BIG
        try:
            self._session.lost(MESSAGE_TOO_LARGE if too_large else "")
            if self._connection is not None:
                self._connection.carry(self._session.take_facts())
                self._connection.ended()
        except Exception:
            _log.exception("cannot end a connection")
        finally:
            self._parts.clear()
            self._guard = None
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

    def _admits(self, count: int) -> bool:
        """Whether to read so many bytes more of a stranger."""
        assert self._tcp is not None, "a socket is open when something comes"
        now_ms = self._clock.now_ms()
        self._sent_bytes += count
        try:
            self._strangers.sent(self, count, now_ms)
            if self._sent_bytes > STRANGER_BYTES_MAX:
                self._session.receive_oversize(now_ms)
                self._settle()
                return False
        except Exception:
            self._fail("cannot refuse a socket")
        return not self._tcp.is_closing()

    # --- frames that are not a whole binary message ---

    def _on_rare_frame(self, frame: WSFrame) -> None:
        now_ms = self._clock.now_ms()
        session = self._session
        if session.phase is Phase.CLOSED:
            return
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            session.receive_broken("a reserved bit is set, and no extension is in use", now_ms)
            return
        match frame.msg_type:
            case WSMsgType.PING:
                self._answer_ping(frame.get_payload_as_bytes())
            case WSMsgType.PONG:
                session.receive_pong(now_ms)
            case WSMsgType.CLOSE:
                if self._connection is not None:
                    self._connection.goodbye()
                payload = frame.get_payload_as_bytes()  # picows has checked that it is well formed
                session.peer_closed(
                    int.from_bytes(payload[:2], "big"), payload[2:].decode(), now_ms
                )
            case WSMsgType.CONTINUATION if not self._in_fragments:
                session.receive_broken("a message cannot begin with a continuation", now_ms)
            case WSMsgType.CONTINUATION:
                self._add_part(frame, now_ms)
            case _ if self._in_fragments:
                session.receive_broken("a message began before the last one ended", now_ms)
            case WSMsgType.TEXT:
                session.receive_garbage(now_ms)
            case _:
                self._in_fragments = True
                self._add_part(frame, now_ms)

    def _add_part(self, frame: WSFrame, now_ms: int) -> None:
        if self._session.phase >= Phase.DISCONNECTING:
            return
        if len(self._parts) + frame.payload_size > self._session.message_bytes_max:
            self._parts.clear()
            self._session.receive_oversize(now_ms)
            return
        self._parts += frame.get_payload_as_memoryview()
        if frame.fin:
            message = bytes(self._parts)
            self._parts.clear()
            self._in_fragments = False
            self._session.receive(message, now_ms)

    def _answer_ping(self, payload: bytes) -> None:
        # Of many pings only the last needs an answer, so a full buffer may swallow some.
        if self._tcp is not None and self.unsent_bytes < UNSENT_HIGH_BYTES:
            self._write(frames.pong_frame(payload))

    # --- out ---

    def _settle(self) -> None:
        """Carry facts, then send, then set the timer: in this order after every change."""
        connection = self._connection
        assert connection is not None, "a socket is settled from its opening on"
        facts = self._session.take_facts()
        if facts:
            if self._guard is not None and self._session.hello is not None:
                self._guard.step_aside()
                self._guard = None
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
