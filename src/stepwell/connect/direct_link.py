"""A socket on plain TCP, read by the thread that runs the functions.

A call that is read on the program's own loop starts there without a hand-over between threads, and
its reply is written where it was made; each hand-over would cost a wake-up, some 50 us with one
call in flight. Whoever does something holds the worker's lock, so it does not matter which thread
it is. The protocol's thread reads until the program's loop has taken over, and again whenever that
loop leaves something unread or unsent for a moment because blocking code holds it up: leases and
heartbeats do not depend on it.

What is to be sent leaves once in a turn of the program's loop. So the acknowledgement of a call and
its reply share a packet when the function only had to go through finished steps, or a quick one.

Source: docs/reference/wire/connect.md, "transport"; RFC 6455 by way of `websockets`.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode

from stepwell.connect.dial import READ_BYTES
from stepwell.connect.http import ServerUnreachable
from stepwell.connect.link import Link
from stepwell.connect.session import CallCame, CheckpointAnswered, LeaseAnswered, Phase, ReplyAcked

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.connect.dial import PlainSocket
    from stepwell.connect.session import Session

GUARD_S = 0.1
"""How often the protocol's thread looks whether the program's loop has left something undone."""

REPLIES_TOGETHER = 8
"""More of a turn do not wait for its end: the server works on these while the others are made."""

EVERYDAY = (CallCame, ReplyAcked, CheckpointAnswered, LeaseAnswered)


class Caller(Protocol):
    """The program's loop, as seen from here."""

    thread_id: int | None

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    def ask(self, callback: Callable[[], None], /) -> bool:
        """Have it call something; False if it has ended."""
        ...


class DirectLink(Link):
    """See `Link`."""

    def __init__(
        self, socket: PlainSocket, session: Session, *, caller: Caller, **common: Any
    ) -> None:
        super().__init__(session, **common)
        self._tcp = socket.tcp
        self._protocol = socket.protocol
        self._early = socket.early
        self._caller = caller
        self._thread_id = threading.get_ident()
        self._there: sockets.socket | None = None  # as the program's loop knows it
        self._parts: list[bytes] = []  # of a message in fragments
        self._unsent = memoryview(b"")
        self._queued_bytes = 0
        self._marks: deque[tuple[int, Callable[[], None]]] = deque()  # what to say, sent so far
        self._will_flush = False
        self._looks = 0  # how often something was read or flushed
        self._looks_seen = -1
        self._is_over = False
        self._over = asyncio.Event()
        self._reported = _Reported(self._fail)
        self._failure: BaseException | None = None
        self._reads_here = True  # on the protocol's thread
        self._guard_timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        try:
            with self._lock:
                self._loop.add_reader(self._tcp, self._readable)
                self._came(self._early)
            # Not before: what the handshake leads to happens on this thread, before any call.
            self.ready.add_done_callback(self._offer)
            await self._over.wait()
        finally:
            with self._lock:
                self._is_over = True
                self.session.lost()
                for timer in (self._guard_timer, self._timer, self._abort_timer):
                    if timer is not None:
                        timer.cancel()
                self._loop.remove_reader(self._tcp)
                self._loop.remove_writer(self._tcp)
                with suppress(OSError):  # it may have ended by itself
                    self._tcp.shutdown(sockets.SHUT_RDWR)
                self._tcp.close()
            if not self._caller.ask(self._let_go):
                self._close_there()
            said = f" with {self.close_reason!r}" if self.close_reason else ""
            self.refuse(ServerUnreachable(f"the gateway closed the socket{said}"))
        if self._failure is not None:
            raise self._failure

    def kick(self) -> None:
        with self._lock, self._reported:
            self._kick()

    def flush(self) -> None:
        with self._lock, self._reported:
            self._flush(with_acks=False)

    def _kick(self) -> None:
        here = threading.get_ident()
        for fact in self.session.take_facts():
            if here == self._thread_id or isinstance(fact, EVERYDAY):
                self._on_fact(self, fact)
            else:
                self._loop.call_soon_threadsafe(self._carry, fact)
        if here == self._thread_id:
            self._arm()
        elif self.session.phase is Phase.OVER:
            self._loop.call_soon_threadsafe(self._armed)
        if here != self._caller.thread_id or here == self._thread_id:
            self._flush()
            return
        if not self._will_flush:
            self._will_flush = True
            self._caller.loop.call_soon(self._flush_turn)
        if self.session.replies_waiting >= REPLIES_TOGETHER:
            self._flush(with_acks=False)  # the turn may answer the other calls as well

    # --- who reads ---

    def _offer(self, _ready: asyncio.Future[None]) -> None:
        if self.was_ready and not self._is_over:
            self._guard_timer = self._loop.call_later(GUARD_S, self._guard)
            self._caller.ask(self._take_over)

    def _take_over(self) -> None:
        """The program's loop is at work, and reads from now on if it is of a kind that can."""
        with self._lock, self._reported:
            if self._is_over:
                return
            if self._there is None:
                with suppress(NotImplementedError, OSError):  # OSError: no more files
                    self._there = self._read_there()
            if self._there is not None:
                self._loop.call_soon_threadsafe(self._stand_back)

    def _read_there(self) -> sockets.socket:
        there = self._tcp.dup()  # so that each loop forgets its own before it is closed
        try:
            self._caller.loop.add_reader(there, self._readable)
        except BaseException:
            there.close()
            raise
        return there

    def _let_go(self) -> None:
        if self._there is not None:
            self._caller.loop.remove_reader(self._there)
        self._close_there()

    def _close_there(self) -> None:
        there, self._there = self._there, None
        if there is not None:
            there.close()

    def _stand_back(self) -> None:
        """The protocol's thread only looks after the program's loop."""
        with self._lock, self._reported:
            if not self._is_over:
                self._loop.remove_reader(self._tcp)
                self._reads_here = False
                self._looks_seen = -1

    def _guard(self) -> None:
        with self._lock, self._reported:
            if self._is_over:
                return
            self._guard_timer = self._loop.call_later(GUARD_S, self._guard)
            if not (self._will_flush or (not self._reads_here and _is_readable(self._tcp))):
                self._looks_seen = -1
            elif self._looks != self._looks_seen:
                self._looks_seen = self._looks
            else:  # it was so at the last look, and nothing has happened since
                self._flush()
                if not self._reads_here:
                    self._loop.add_reader(self._tcp, self._readable)
                    self._reads_here = True
                    self._caller.ask(self._take_over)

    # --- in ---

    def _readable(self) -> None:
        with self._lock, self._reported:
            if self._is_over:
                return
            self._looks += 1
            try:
                data = self._tcp.recv(READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return  # the other thread has read it
            except OSError:
                self._lost()
                return
            protocol = self._protocol
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
            self._came(protocol.events_received())  # type: ignore[arg-type]  # no Response again
            if not data:
                self._lost()

    def _came(self, frames: list[Frame]) -> None:
        self._take(frames)
        self._kick()
        if self._protocol.close_rcvd is not None:
            self._flush()  # the answer
            self._lost()

    def _take(self, frames: list[Frame]) -> None:
        session, parts = self.session, self._parts
        now_ms = int(self._loop.time() * 1000)
        for frame in frames:
            match frame.opcode:
                case Opcode.BINARY if frame.fin:
                    session.receive(bytes(frame.data), now_ms)
                case Opcode.BINARY | Opcode.CONT:
                    if frame.data:  # empty ones have no limit
                        parts.append(bytes(frame.data))
                    if frame.fin:
                        session.receive(b"".join(parts), now_ms)
                        parts.clear()
                case Opcode.TEXT:
                    session.receive_garbage()
                case _:  # answered by `websockets`
                    continue
        error = self._protocol.parser_exc
        if error is not None and not isinstance(error, EOFError):
            session.receive_garbage()  # nor is what follows read; `websockets` has said why

    def _carry(self, fact: Any) -> None:
        with self._lock, self._reported:
            self._on_fact(self, fact)
            self._kick()

    def _lost(self) -> None:
        """The socket has ended, or is to end now."""
        self._is_over = True
        closed = self._protocol.close_rcvd
        if closed is not None:
            self.close_code, self.close_reason = closed.code, closed.reason
        if threading.get_ident() == self._thread_id:
            self._over.set()
        else:
            self._loop.call_soon_threadsafe(self._over.set)

    def _fail(self, error: BaseException) -> None:
        """Our own code failed, on whichever thread: `run` raises it."""
        self._failure = self._failure or error
        self._lost()

    def _abort(self) -> None:
        with self._lock, self._reported:
            self._lost()

    # --- out ---

    def _flush_turn(self) -> None:
        with self._lock, self._reported:
            if self._will_flush:
                self._flush()

    def _flush(self, *, with_acks: bool = True) -> None:
        """Send what there is, until the line takes no more."""
        if with_acks:
            self._will_flush = False
        self._looks += 1
        session, protocol = self.session, self._protocol
        while not (self._unsent or self._is_over):
            output = session.take_output(with_acks=with_acks)
            parts = protocol.data_to_send()  # pongs, and the answer to a close frame
            if output is None and not parts:
                return
            size = self._queued_bytes + sum(map(len, parts))
            if output is not None:
                try:
                    for message in output.messages:
                        protocol.send_binary(message)
                    size = self._queue(parts, size)
                    self._marks.append((size, session.messages_left))
                    for request_id, message in output.replies:
                        protocol.send_binary(message)
                        size = self._queue(parts, size)
                        self._marks.append((size, lambda key=request_id: self._left(key)))  # type: ignore[misc]
                    if output.close is not None:
                        protocol.send_close(output.close.code, output.close.reason)
                        size = self._queue(parts, size)
                except WebSocketException:  # it is closing: nothing more can be sent
                    self._marks.clear()
            self._queued_bytes = size
            self._unsent = memoryview(b"".join(parts))
            self._send()

    def _queue(self, parts: list[bytes], size: int) -> int:
        new = self._protocol.data_to_send()
        parts += new
        return size + sum(map(len, new))

    def _left(self, request_id: str) -> None:
        self.session.moved()
        self._on_reply_left(self, request_id)

    def _send(self) -> None:
        """Write what is unsent; have the protocol's thread write the rest when there is room."""
        try:
            sent = self._tcp.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._hear_out()
            self._lost()
            return
        self._unsent = self._unsent[sent:]
        done = self._queued_bytes - len(self._unsent)
        marks = self._marks
        while marks and marks[0][0] <= done:
            marks.popleft()[1]()
        if self._unsent:
            if threading.get_ident() == self._thread_id:
                self._await_room()
            else:
                self._loop.call_soon_threadsafe(self._await_room)

    def _hear_out(self) -> None:
        """A peer that takes no more may have said why before."""
        with suppress(OSError, EOFError):
            while data := self._tcp.recv(READ_BYTES):
                self._protocol.receive_data(data)

    def _await_room(self) -> None:
        with self._lock, self._reported:
            if self._unsent and not self._is_over:
                self._loop.add_writer(self._tcp, self._writable)

    def _writable(self) -> None:
        with self._lock, self._reported:
            if self._is_over:
                return
            self.session.moved()
            self._send()
            if not self._unsent:
                self._loop.remove_writer(self._tcp)
                self._flush()

    # --- time ---

    def _armed(self) -> None:
        with self._lock, self._reported:
            if not self._is_over:
                self._arm()

    def _wake(self) -> None:
        with self._lock, self._reported:
            self._timer = None
            self._readable()  # an answer may be here, and its reader be held up
            if self._is_over:
                return
            self.session.wake(self._due_ms())
            self._kick()


class _Reported:
    """What is raised inside goes to `fail`, since a loop would only log it.

    Not part of taking the lock: a signal's exception must not come between.
    """

    def __init__(self, fail: Callable[[BaseException], None]) -> None:
        self._fail = fail

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is not None:
            self._fail(error)
        return isinstance(error, Exception)


def _is_readable(socket: sockets.socket) -> bool:
    """Whether something is there to read, or the end."""
    try:
        socket.recv(1, sockets.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True
    return True
