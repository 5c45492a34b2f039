"""The Connect protocol on one socket, from the worker's side, without a socket.

The shell feeds whole binary messages to `receive`, carries out the facts of `take_facts`, then
sends `take_output`. It asks `next_wakeup_ms` when to call `wake`. Times are milliseconds of one
clock that never goes back; it need not be the wall's.

What each phase makes of a message (anything else of the table below, or a kind that we do not
know, is ignored; one that cannot be decoded ends the socket):

    phase          message               what follows
    AWAIT_HELLO    GATEWAY_HELLO         WORKER_CONNECT is sent, AWAIT_READY
                   GATEWAY_CLOSING       Draining: this gateway is of no use
                   another known kind    the socket is closed with 4001 UNEXPECTED
    AWAIT_READY    CONNECTION_READY      Ready, ACTIVE
                   SYNC_FAILED           SyncFailed; the gateway closes
                   GATEWAY_CLOSING       Draining
                   EXECUTOR_REQUEST      the socket is closed with 4001 UNEXPECTED
    ACTIVE         EXECUTOR_REQUEST      CallCame: acknowledge it with `ack`, or do not take it
                   REPLY_ACK             ReplyAcked
                   EXTEND_LEASE_ACK      LeaseAnswered
                   CHECKPOINT_ACK        CheckpointAnswered
                   GATEWAY_HEARTBEAT     the socket lives
                   GATEWAY_CLOSING       Draining; everything else goes on
    OVER           all                   nothing

Source: docs/reference/wire/connect.md, "handshake", "leases", "liveness".
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from google.protobuf.message import DecodeError

from stepwell.errors import WireError
from stepwell.wire.connect import (
    CHECKPOINTS,
    REPLY_IS_ACK,
    ConnectMessage,
    GatewayCheckpointAckData,
    GatewayConnectionReadyData,
    GatewayExecutorRequestData,
    Kind,
    WorkerReplyAckData,
    WorkerRequestExtendLeaseAckData,
)
from stepwell.wire.connect import (
    SystemError as SyncError,
)
from stepwell.wire.durations import parse_duration_ms

if TYPE_CHECKING:
    from collections.abc import Callable

HELLO_WAIT_MS = 5_000
"""How long a gateway may take for its first message."""

READY_WAIT_MS = 20_000
"""How long it may take to register the apps; it registers them before it answers."""

HEARTBEAT_MS_DEFAULT = 10_000
EXTEND_LEASE_MS_DEFAULT = 5_000
INTERVAL_MS_MIN = 100
"""A gateway that advertises less than this would make us busy with nothing else."""

UNANSWERED_MAX = 2
"""Heartbeats without an answer; when the next one is due after these, the socket is dead. As many
that cannot even be sent, while nothing else leaves either, mean the same."""

REPLIES_BYTES = 64 * 2**10
"""Of the replies that wait, so much leaves between two looks at what is more urgent."""

REPLY_AS_ACK_BYTES = 16 * 2**10

NORMAL = 1000
INVALID_DATA = 1007
UNEXPECTED = 4001  # of the range that is free for applications; what official workers use


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The handshake is complete: calls may come."""

    extend_lease_ms: int


class SyncFailed(msgspec.Struct, frozen=True, kw_only=True):
    """The server refused the apps. `code` may be empty."""

    code: str
    message: str


class CallCame(msgspec.Struct, frozen=True, kw_only=True):
    """The server wants a function run."""

    request: GatewayExecutorRequestData


class LeaseAnswered(msgspec.Struct, frozen=True, kw_only=True):
    """A lease was extended, or is lost (`lease_id` None)."""

    request_id: str
    lease_id: str | None


class ReplyAcked(msgspec.Struct, frozen=True, kw_only=True):
    """The server has a reply."""

    request_id: str


class CheckpointAnswered(msgspec.Struct, frozen=True, kw_only=True):
    """Steps of a call that goes on are stored, or were refused for a reason (not empty)."""

    request_id: str
    number: int
    refusal: str


class Draining(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway is leaving: find another one. No calls come here any more."""


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """This socket is of no more use, for a reason of ours."""

    reason: str


Fact: TypeAlias = (
    Ready
    | SyncFailed
    | CallCame
    | LeaseAnswered
    | ReplyAcked
    | CheckpointAnswered
    | Draining
    | Over
)


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """A close frame to send, after the messages."""

    code: int
    reason: str


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What to do to the socket, in this order.

    Attributes:
        messages: To be written first; then say `messages_left`.
        replies: With the ids of the calls that they answer.
    """

    messages: list[bytes]
    replies: list[tuple[str, bytes]]
    close: Close | None


class Phase(IntEnum):
    AWAIT_HELLO = 0
    AWAIT_READY = 1
    ACTIVE = 2
    OVER = 3


class Session:
    """One socket's side of the protocol, from the moment that the socket is open.

    Args:
        hello: The serialised `WorkerConnectRequestData`.
    """

    def __init__(self, hello: bytes, now_ms: int) -> None:
        self._hello = hello
        self._phase = Phase.AWAIT_HELLO
        self._deadline_ms = now_ms + HELLO_WAIT_MS  # of the handshake
        self._heartbeat_ms = HEARTBEAT_MS_DEFAULT
        self._heartbeat_at_ms = 0
        self._unanswered = 0
        self._heartbeat_waits = False  # for its turn on the socket
        self._heartbeat_leaves = False  # with the output that was taken last
        self._stalled = 0
        self._draining = False
        self._reply_is_ack = False
        self._takes_checkpoints = False
        self._acks: dict[str, Callable[[], bytes]] = {}  # by call, to be made when they leave
        self._messages: list[bytes] = []
        self._replies: deque[tuple[str, bytes]] = deque()
        self._close: Close | None = None
        self._facts: list[Fact] = []
        self._handlers: dict[int, Callable[[bytes, int], None]] = {
            Kind.GATEWAY_EXECUTOR_REQUEST: self._on_call,
            Kind.WORKER_REPLY_ACK: self._on_reply_ack,
            Kind.WORKER_REQUEST_EXTEND_LEASE_ACK: self._on_lease,
            Kind.GATEWAY_HEARTBEAT: self._on_heartbeat,
            Kind.GATEWAY_CLOSING: self._on_closing,
            Kind.GATEWAY_CHECKPOINT_ACK: self._on_checkpoint_ack,
        }

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def takes_checkpoints(self) -> bool:
        """Whether this server takes steps of calls that go on, here. Known when it is ready."""
        return self._takes_checkpoints

    @property
    def replies_waiting(self) -> int:
        """How many replies `take_output` has not given out."""
        return len(self._replies)

    # --- the four verbs ---

    def receive(self, data: bytes, now_ms: int) -> None:
        """Take one whole binary message."""
        if self._phase is Phase.OVER:
            return
        try:
            message = ConnectMessage.FromString(data)
            kind = int(message.kind)
            if self._phase is Phase.ACTIVE:
                handler = self._handlers.get(kind)
                if handler is not None:
                    handler(message.payload, now_ms)
            elif self._phase is Phase.AWAIT_READY:
                self._on_answer(kind, message.payload, now_ms)
            else:
                self._on_first(kind, now_ms)
        except DecodeError:
            self.receive_garbage()

    def take_output(self, *, with_acks: bool = True) -> Output | None:
        """Give what must be sent since the last call, None if nothing. To be called until then.

        A reply may be large, and the line slow. So few replies leave at a time, and heartbeats,
        acknowledgements and lease extensions go before those that are left.

        Args:
            with_acks: Without them, calls that came just now may still be answered instead.
        """
        acks = bool(self._acks) and with_acks
        if not (self._messages or acks or self._replies or self._close):
            return None
        replies: list[tuple[str, bytes]] = []
        size = 0
        while self._replies and size < REPLIES_BYTES:
            replies.append(self._replies.popleft())
            size += len(replies[-1][1])
        if self._acks:
            self._drop_acks(replies)
            if with_acks or not self._reply_is_ack:
                self._send_acks()
        close = None if self._replies else self._close
        output = Output(messages=self._messages, replies=replies, close=close)
        self._messages = []
        self._heartbeat_leaves = self._heartbeat_waits
        if close is not None:
            self._close = None
        return output

    def messages_left(self) -> None:
        """The `messages` of the latest output were written."""
        self._stalled = 0
        if self._heartbeat_leaves:
            self._heartbeat_waits = self._heartbeat_leaves = False
            self._unanswered += 1

    def moved(self) -> None:
        """Bytes were written since the last look, if only a part of a message."""
        self._stalled = 0

    def next_wakeup_ms(self) -> int | None:
        """When to call `wake`; None when the session is over."""
        if self._phase is Phase.OVER:
            return None
        return self._heartbeat_at_ms if self._phase is Phase.ACTIVE else self._deadline_ms

    def wake(self, now_ms: int) -> None:
        """Act on whatever is due. Calling it early does nothing."""
        due_ms = self.next_wakeup_ms()
        if due_ms is None or now_ms < due_ms:
            return
        if self._phase is Phase.AWAIT_HELLO:
            self._end(UNEXPECTED, "the gateway said nothing")
        elif self._phase is Phase.AWAIT_READY:
            self._end(UNEXPECTED, "the gateway did not answer WORKER_CONNECT")
        elif self._unanswered >= UNANSWERED_MAX:
            self._end(UNEXPECTED, f"{self._unanswered} heartbeats were not answered")
        elif self._stalled >= UNANSWERED_MAX:
            self._end(UNEXPECTED, f"nothing could be sent for {self._stalled} heartbeats")
        else:
            self._heartbeat_at_ms = now_ms + self._heartbeat_ms
            self._stalled += 1
            if not self._heartbeat_waits:
                self._heartbeat_waits = True
                self._send(Kind.WORKER_HEARTBEAT)

    def take_facts(self) -> list[Fact]:
        """Give what happened since the last call, in order. Carry it out before sending output."""
        facts, self._facts = self._facts, []
        return facts

    # --- what the shell says ---

    def ack(self, request_id: str, make: Callable[[], bytes]) -> None:
        """Take a call that came here: `make` gives a serialised `WorkerRequestAckData`.

        It is not made if the reply leaves in its place, with a server that agreed to that.
        """
        if self._phase is Phase.ACTIVE:
            self._acks[request_id] = make

    def extend_lease(self, payload: bytes) -> None:
        """Ask to keep a call: `payload` is a serialised `WorkerRequestExtendLeaseData`."""
        self._send_if_active(Kind.WORKER_REQUEST_EXTEND_LEASE, payload)

    def reply(self, request_id: str, payload: bytes) -> None:
        """Send a call's outcome: `payload` is a serialised `SDKResponse`."""
        if self._phase is Phase.ACTIVE:
            self._replies.append((request_id, _envelope(Kind.WORKER_REPLY, payload)))

    def checkpoint(self, request_id: str, payload: bytes) -> None:
        """Report steps of a call that goes on: a serialised `WorkerCheckpointData`.

        It has its turn among the replies, and like them says that the call was taken.
        """
        if self._phase is Phase.ACTIVE:
            self._replies.append((request_id, _envelope(Kind.WORKER_CHECKPOINT, payload)))

    def pause(self) -> None:
        """Say that this worker takes no more calls. It cannot be taken back."""
        self._send_if_active(Kind.WORKER_PAUSE, b"")

    def close(self, reason: str) -> None:
        """Leave in good order."""
        if self._phase is not Phase.OVER:
            self._phase = Phase.OVER
            self._close = Close(code=NORMAL, reason=reason)

    def receive_garbage(self) -> None:
        """A text message came, or one that cannot be decoded."""
        if self._phase is not Phase.OVER:
            self._end(INVALID_DATA, "the gateway sent something that is no Connect message")

    def lost(self) -> None:
        """The socket has ended. Nothing can be sent any more."""
        self._phase = Phase.OVER
        self._messages, self._close = [], None
        self._acks.clear()
        self._replies.clear()

    # --- messages ---

    def _on_first(self, kind: int, now_ms: int) -> None:
        if kind == Kind.GATEWAY_HELLO:
            self._phase = Phase.AWAIT_READY
            self._deadline_ms = now_ms + READY_WAIT_MS
            self._send(Kind.WORKER_CONNECT, self._hello)
        elif kind == Kind.GATEWAY_CLOSING:
            self._on_closing(b"", now_ms)
        elif kind in _KNOWN:
            self._end(UNEXPECTED, f"{Kind(kind).name} came before GATEWAY_HELLO")

    def _on_answer(self, kind: int, payload: bytes, now_ms: int) -> None:
        if kind == Kind.GATEWAY_CONNECTION_READY:
            ready = GatewayConnectionReadyData.FromString(payload)
            self._phase = Phase.ACTIVE
            self._heartbeat_ms = _interval_ms(ready.heartbeat_interval, HEARTBEAT_MS_DEFAULT)
            # Not at once: a gateway may still be marking the connection ready, and some get that
            # wrong when a heartbeat comes in between.
            self._heartbeat_at_ms = now_ms + self._heartbeat_ms
            self._reply_is_ack = REPLY_IS_ACK in ready.extensions
            self._takes_checkpoints = CHECKPOINTS in ready.extensions
            extend_ms = _interval_ms(ready.extend_lease_interval, EXTEND_LEASE_MS_DEFAULT)
            self._facts.append(Ready(extend_lease_ms=extend_ms))
        elif kind == Kind.SYNC_FAILED:
            failure = SyncError.FromString(payload)
            self._facts.append(SyncFailed(code=failure.code, message=failure.message))
        elif kind == Kind.GATEWAY_CLOSING:
            self._on_closing(payload, now_ms)
        elif kind == Kind.GATEWAY_EXECUTOR_REQUEST:
            self._end(UNEXPECTED, "a call came before CONNECTION_READY")

    def _on_call(self, payload: bytes, _now_ms: int) -> None:
        request = GatewayExecutorRequestData.FromString(payload)
        self._facts.append(CallCame(request=request))

    def _on_reply_ack(self, payload: bytes, _now_ms: int) -> None:
        ack = WorkerReplyAckData.FromString(payload)
        self._facts.append(ReplyAcked(request_id=ack.request_id))

    def _on_checkpoint_ack(self, payload: bytes, _now_ms: int) -> None:
        ack = GatewayCheckpointAckData.FromString(payload)
        self._facts.append(
            CheckpointAnswered(request_id=ack.request_id, number=ack.seq, refusal=ack.refusal)
        )

    def _on_lease(self, payload: bytes, _now_ms: int) -> None:
        ack = WorkerRequestExtendLeaseAckData.FromString(payload)
        lease_id = ack.new_lease_id if ack.HasField("new_lease_id") else None
        self._facts.append(LeaseAnswered(request_id=ack.request_id, lease_id=lease_id))

    def _on_heartbeat(self, _payload: bytes, _now_ms: int) -> None:
        self._unanswered = 0

    def _on_closing(self, _payload: bytes, _now_ms: int) -> None:
        if not self._draining:
            self._draining = True
            self._facts.append(Draining())

    # --- output ---

    def _end(self, code: int, reason: str) -> None:
        self._phase = Phase.OVER
        self._facts.append(Over(reason=reason))
        self._close = Close(code=code, reason=reason if code != UNEXPECTED else "UNEXPECTED")

    def _drop_acks(self, replies: list[tuple[str, bytes]]) -> None:
        if self._reply_is_ack:
            for request_id, message in replies:
                if len(message) <= REPLY_AS_ACK_BYTES:  # a large one may be long on its way
                    self._acks.pop(request_id, None)

    def _send_acks(self) -> None:
        acks = [_envelope(Kind.WORKER_REQUEST_ACK, make()) for make in self._acks.values()]
        self._messages[:0] = acks
        self._acks.clear()

    def _send_if_active(self, kind: Kind, payload: bytes) -> None:
        if self._phase is Phase.ACTIVE:
            self._send(kind, payload)

    def _send(self, kind: Kind, payload: bytes = b"") -> None:
        self._messages.append(_envelope(kind, payload))


_KNOWN = frozenset(int(kind) for kind in Kind)


def _envelope(kind: Kind, payload: bytes) -> bytes:
    message = ConnectMessage(kind=int(kind), payload=payload)  # type: ignore[arg-type]
    return message.SerializeToString()


def _interval_ms(text: str, default_ms: int) -> int:
    """An advertised interval; one that is empty, zero or unreadable is the default."""
    try:
        ms = parse_duration_ms(text)
    except WireError:
        return default_ms
    return max(ms, INTERVAL_MS_MIN) if ms > 0 else default_ms
