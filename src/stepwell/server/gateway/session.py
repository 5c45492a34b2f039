"""The Connect protocol on one socket, from the server's side, without a socket.

The shell feeds whole binary messages to `receive`, carries out the facts of `take_facts`, answers
them (`synced`, `reply_committed`, ...), then sends `take_output`. It asks `next_wakeup_ms` when
to call `wake`. Times are milliseconds of one clock that never goes back; it need not be the wall's.

Phases, never backwards:

    phase          calls   heartbeat answered   lease answered   reply answered   replies taken
    HANDSHAKING    no      no                   no               no               held until synced
    READY          yes     yes                  yes              yes              yes
    DRAINING       no      yes                  yes              yes              yes
    DISCONNECTING  no      no                   no               if peer closed   already read ones
    CLOSED         no      no                   no               no               no

Two choices beyond the reference. A lease extension or a reply that comes before WORKER_CONNECT is
skipped, because the official Python worker may send one on a fresh socket; anything else ends the
handshake. What comes while the apps are being registered is held and handled afterwards.
Source: docs/reference/wire/connect.md, "gateway lifecycle", "handshake", "close codes".
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec
from google.protobuf.message import DecodeError

from stepwell.errors import WireError
from stepwell.server.gateway import frames
from stepwell.server.gateway.facts import (
    Acked,
    Checkpointed,
    Close,
    ExtendWanted,
    Fact,
    Gone,
    Heartbeat,
    Output,
    Paused,
    Quiet,
    Ready,
    Replied,
    SyncWanted,
    Unheard,
)
from stepwell.server.gateway.hello import APPS_MAX, Authenticate, Hello, read_hello
from stepwell.wire.connect import (
    CHECKPOINTS,
    REPLY_IS_ACK,
    ConnectMessage,
    GatewayConnectionReadyData,
    Kind,
    SDKResponse,
    WorkerCheckpointData,
    WorkerRequestAckData,
    WorkerRequestExtendLeaseAckData,
    WorkerRequestExtendLeaseData,
)
from stepwell.wire.connect import SystemError as SyncFailure
from stepwell.wire.ids import parse_ulid

if TYPE_CHECKING:
    from collections.abc import Callable

HELLO_WAIT_MS = 5_000
"""How long a fresh socket may take to send WORKER_CONNECT."""

CLOSE_WAIT_MS = 2_000
"""How long the closing handshake may take, each half, before TCP is cut."""

MESSAGE_BYTES_MAX = 8 * 2**20
"""A step's output and its input, 4 MiB each."""

HELLO_BYTES_MAX = 2 * 2**20
"""The same for a message before the worker authenticated: ten apps with hundreds of functions."""

DRAIN_IDLE_MS = 1_000
"""How long a worker without calls may stay when the gateway leaves: enough to leave by itself."""

LISTENS_WAIT_MS = 1_000
"""How long a worker that must answer a ping before its first call is waited for."""

FRESH_MS = 10_000
"""So long after WORKER_READY a call may come too early: the official TypeScript SDK says that it is
ready before it takes calls, and drops one that comes in between without a word."""

ACK_AFTER_PONG_MS = 1_000
"""An acknowledgement that has not come so long after the pong to a ping that was sent behind the
call will not come any more: the worker has read the call."""

HELD_MESSAGES_MAX = 64
HELD_BYTES_MAX = MESSAGE_BYTES_MAX
"""What a worker may send while its apps are registered; more is dropped, and it sends it again."""

CALLS_TRACKED_MAX = 10_000
"""Calls remembered as unanswered, for the question whether a worker left in good order."""

NORMAL = 1000
GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
INVALID_DATA = 1007
POLICY_VIOLATION = 1008
TOO_BIG = 1009
INTERNAL = 1011

GATEWAY_CLOSING = "connect_gateway_closing"
INTERNAL_ERROR = "connect_internal_error"
HELLO_TIMEOUT = "connect_worker_hello_timeout"
HELLO_INVALID_MESSAGE = "connect_worker_hello_invalid_msg"
ACK_INVALID = "connect_worker_request_ack_invalid_payload"
EXTEND_INVALID = "connect_worker_request_extend_lease_invalid_payload"

WORKER_SHUTDOWN = "WORKER_SHUTDOWN"
UNEXPECTED = "UNEXPECTED"
GATEWAY_DRAINING = "GATEWAY_DRAINING"
HEARTBEATS_MISSED = "CONSECUTIVE_HEARTBEATS_MISSED"
MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"


class Phase(IntEnum):
    HANDSHAKING = 0
    READY = 1
    DRAINING = 2
    DISCONNECTING = 3
    CLOSED = 4


# For what is done with each message: to look a member up in its enumeration costs 70 ns.
_HANDSHAKING: Final = Phase.HANDSHAKING
_READY: Final = Phase.READY
_DISCONNECTING: Final = Phase.DISCONNECTING
_CLOSED: Final = Phase.CLOSED
_CALL: Final = Kind.GATEWAY_EXECUTOR_REQUEST


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What all sessions of a gateway share. The intervals are what CONNECTION_READY advertises."""

    authenticate: Authenticate
    heartbeat_interval: str
    extend_lease_interval: str
    quiet_ms: int
    silence_ms: int
    drain_wait_ms: int
    apps_max: int = APPS_MAX


class Session:
    """One socket's side of the protocol. HELLO is in its first output."""

    def __init__(self, config: SessionConfig, now_ms: int) -> None:
        self._config = config
        self._phase = Phase.HANDSHAKING
        self._hello: Hello | None = None
        self._attached = False  # the worker is ready for calls
        self._listens_by_ms: int | None = None  # when it is, without an answer to the ping
        self._fresh_until_ms: int | None = None  # calls may come too early for the worker
        self._doubted: list[str] = []  # such calls, not yet followed by a ping
        self._pinged: list[str] = []  # followed by one that was not answered yet
        self._read: list[str] = []  # which the worker has read
        self._read_by_ms: int | None = None  # when it should have acknowledged them
        self._paused = False  # by the worker
        self._drain_until_ms: int | None = None
        self._heard_ms = now_ms
        self._quiet = False  # for so long that it gets no new calls
        self._deadline_ms = now_ms + HELLO_WAIT_MS  # of the hello, later of the closing handshake
        self._held: list[tuple[int, bytes]] = []
        self._held_bytes = 0
        self._calls: dict[str, bool] = {}  # request id -> acknowledged
        self._uncommitted = 0  # replies handed to the shell and not answered by it
        self._close_sent = False
        self._messages: list[bytes] = [frames.envelope(Kind.GATEWAY_HELLO)]
        self._ping = False
        self._close: Close | None = None
        self._peer_close: Close | None = None
        self._end = False
        self._facts: list[Fact] = []
        self._handlers: dict[int, Callable[[bytes, int], None]] = {
            Kind.WORKER_REPLY: self._on_reply,
            Kind.WORKER_REQUEST_ACK: self._on_ack,
            Kind.WORKER_HEARTBEAT: self._on_heartbeat,
            Kind.WORKER_REQUEST_EXTEND_LEASE: self._on_extend,
            Kind.WORKER_READY: self._on_ready,
            Kind.WORKER_PAUSE: self._on_pause,
            Kind.WORKER_CHECKPOINT: self._on_checkpoint,
        }

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def hello(self) -> Hello | None:
        """What the worker said of itself, once it authenticated."""
        return self._hello

    @property
    def message_bytes_max(self) -> int:
        """How large a message of the worker may be now."""
        return HELLO_BYTES_MAX if self._hello is None else MESSAGE_BYTES_MAX

    @property
    def _takes_calls(self) -> bool:
        return self._phase is _READY and self._attached and not self._quiet

    # --- the four verbs ---

    def receive(self, data: bytes, now_ms: int) -> None:
        """Take one whole binary message. What a closing peer still sends is ignored."""
        if self._phase >= _DISCONNECTING:
            return
        self._heard_ms = now_ms
        if self._fresh_until_ms is not None and now_ms >= self._fresh_until_ms:
            self._fresh_until_ms = None
        if self._quiet:
            self._quiet = False
            if self._phase is Phase.READY:
                self._facts.append(Ready())
        if self._hello is None and len(data) > HELLO_BYTES_MAX:
            self.receive_oversize(now_ms)
            return
        try:
            message = ConnectMessage.FromString(data)
        except DecodeError:
            self.receive_garbage(now_ms)
            return
        kind = int(message.kind)
        if self._phase is not _HANDSHAKING:
            handler = self._handlers.get(kind)  # kinds that we do not know are ignored
            if handler is not None:
                handler(message.payload, now_ms)
        elif self._hello is None:
            self._on_first(kind, message.payload, now_ms)
        elif (
            len(self._held) < HELD_MESSAGES_MAX
            and self._held_bytes + len(message.payload) <= HELD_BYTES_MAX
            and kind != Kind.WORKER_HEARTBEAT
        ):
            self._held.append((kind, message.payload))
            self._held_bytes += len(message.payload)

    def receive_pong(self, now_ms: int) -> None:
        """The worker answered the ping, so it has read all that was sent before."""
        if self._phase >= _DISCONNECTING:
            return
        if self._listens_by_ms is not None:
            self._heard_ms = now_ms
            self._on_ready(b"", now_ms)
        elif self._pinged:
            self._heard_ms = now_ms
            self._read += self._pinged
            self._pinged = []
            self._read_by_ms = now_ms + ACK_AFTER_PONG_MS

    def take_output(self) -> Output | None:
        """Give what must be sent since the last call, None if nothing."""
        if not (self._messages or self._close or self._end or self._doubted):
            return None
        if self._doubted and not self._pinged:
            self._pinged, self._doubted = self._doubted, []
            self._ping = True
        elif not (self._messages or self._close or self._end):
            return None  # one ping at a time
        output = Output(messages=self._messages, ping=self._ping, close=self._close, end=self._end)
        self._messages, self._ping, self._close, self._end = [], False, None, False
        return output

    def next_wakeup_ms(self) -> int | None:
        """When to call `wake`; None when the session is over."""
        if self._phase is _CLOSED:
            return None
        if self._phase is _DISCONNECTING or self._hello is None:
            return self._deadline_ms
        if self._takes_calls:
            quiet_ms = self._heard_ms + self._config.quiet_ms
            return quiet_ms if self._read_by_ms is None else min(quiet_ms, self._read_by_ms)
        if self._listens_by_ms is not None:
            return self._listens_by_ms
        silence_ms = self._heard_ms + self._config.silence_ms
        if self._drain_until_ms is None:
            return silence_ms
        return min(silence_ms, self._drain_until_ms)

    def wake(self, now_ms: int) -> None:
        """Act on whatever is due. Calling it early does nothing."""
        due_ms = self.next_wakeup_ms()
        if due_ms is None or now_ms < due_ms:
            return
        if self._phase is Phase.DISCONNECTING:
            if self._close_sent:
                self._end = True
                self._deadline_ms = now_ms + CLOSE_WAIT_MS
            else:
                self._answer_close(now_ms)
        elif self._hello is None:
            self._refuse(POLICY_VIOLATION, HELLO_TIMEOUT, UNEXPECTED, now_ms)
        elif self._listens_by_ms is not None:
            self._on_ready(b"", now_ms)
        elif self._drain_until_ms is not None and now_ms >= self._drain_until_ms:
            self._refuse(GOING_AWAY, GATEWAY_CLOSING, GATEWAY_DRAINING, now_ms)
        elif self._read_by_ms is not None and self._takes_calls and now_ms >= self._read_by_ms:
            self._give_up_unheard()
        elif self._takes_calls:
            self._quiet = True
            self._forget_unacknowledged()
            self._facts.append(Quiet())
        else:
            self._refuse(INTERNAL, INTERNAL_ERROR, HEARTBEATS_MISSED, now_ms)

    def take_facts(self) -> list[Fact]:
        """Give what happened since the last call, in order. Carry it out before sending output."""
        facts, self._facts = self._facts, []
        return facts

    # --- what the shell answers ---

    def synced(self, now_ms: int) -> None:
        """The apps are registered: the worker is ready, unless it wants to say so itself."""
        if self._phase is not Phase.HANDSHAKING:
            return
        assert self._hello is not None, "synced() answers SyncWanted"
        self._phase = Phase.READY
        ready = GatewayConnectionReadyData(
            heartbeat_interval=self._config.heartbeat_interval,
            extend_lease_interval=self._config.extend_lease_interval,
            status_interval="0s",
            extensions=[REPLY_IS_ACK, CHECKPOINTS] if self._hello.is_ours else [],
        )
        if self._hello.listens_late:
            self._ping = True
            self._listens_by_ms = now_ms + LISTENS_WAIT_MS
        elif not self._hello.manual_readiness:
            self._on_ready(b"", now_ms)
        self._send(Kind.GATEWAY_CONNECTION_READY, ready.SerializeToString())
        held, self._held = self._held, []
        for kind, payload in held:
            handler = self._handlers.get(kind)
            if handler is not None and self._phase < Phase.DISCONNECTING:
                handler(payload, now_ms)

    def sync_failed(self, code: str, message: str, now_ms: int) -> None:
        """The apps were refused: tell the worker why, and close with the code as reason.

        `connect_internal_error` is our fault, and the worker may come back; any other code is
        the app's, and the worker should not.
        """
        if self._phase is not Phase.HANDSHAKING:
            return
        reason = code or INTERNAL_ERROR
        failure = SyncFailure(code=reason, message=message)
        self._send(Kind.SYNC_FAILED, failure.SerializeToString())
        close_code = INTERNAL if reason == INTERNAL_ERROR else POLICY_VIOLATION
        self._refuse(close_code, reason, UNEXPECTED, now_ms)

    def reply_committed(self, request_id: str, now_ms: int) -> None:
        """A reply is durable, or needs not be: acknowledge it."""
        if not self._close_sent and self._phase is not _CLOSED:
            self._messages.append(frames.reply_ack(request_id))
        self._reply_settled(now_ms)

    def checkpoint_answered(self, checkpoint: Checkpointed, refusal: str | None) -> None:
        """Steps are durable, or refused for a reason that is named by its code."""
        if not self._close_sent and self._phase is not _CLOSED:
            self._messages.append(
                frames.checkpoint_ack(checkpoint.request_id, checkpoint.seq, refusal or "")
            )

    def reply_not_stored(self, now_ms: int) -> None:
        """A reply could not be stored: no acknowledgement, so that the worker sends it again."""
        self._reply_settled(now_ms)

    def lease_extended(self, wanted: ExtendWanted, new_lease_id: str | None) -> None:
        """Answer a lease extension; None says that the lease is lost."""
        if self._phase not in (Phase.READY, Phase.DRAINING):
            return
        ack = WorkerRequestExtendLeaseAckData.FromString(wanted.echo)
        if new_lease_id is None:
            self._calls.pop(wanted.request_id, None)
        else:
            ack.new_lease_id = new_lease_id
        self._send(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK, ack.SerializeToString())

    def withdraw_call(self, request_id: str) -> None:
        """Tell a worker of ours at once that a call is not wanted any more, as if it had asked for
        more time; the others hear it when they do."""
        if self._phase not in (Phase.READY, Phase.DRAINING):
            return
        assert self._hello is not None, "a worker that is ready has introduced itself"
        if self._hello.is_ours and self._calls.pop(request_id, None) is not None:
            ack = WorkerRequestExtendLeaseAckData(request_id=request_id)
            self._send(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK, ack.SerializeToString())

    def send_call(self, request_id: str, payload: bytes) -> None:
        """Send a call, given as serialised `GatewayExecutorRequestData`.

        One that comes after the worker stopped taking calls is dropped: its fact is on the way to
        the caller, who gives the call to another worker.
        """
        if not self._takes_calls:
            return
        if len(self._calls) >= CALLS_TRACKED_MAX:
            del self._calls[next(iter(self._calls))]
        self._calls[request_id] = False
        if self._fresh_until_ms is not None:
            self._doubted.append(request_id)
        self._messages.append(frames.envelope(_CALL, payload))

    # --- the ends of a connection ---

    def begin_drain(self, now_ms: int) -> None:
        """The gateway is leaving: no more calls; the worker has `drain_wait_ms` to move.

        One that has nothing left in flight is ended sooner: it loses nothing by it.
        """
        if self._phase is Phase.HANDSHAKING:
            self.shut(now_ms)
        elif self._phase < Phase.DISCONNECTING and self._drain_until_ms is None:
            self._drain_until_ms = now_ms + self._config.drain_wait_ms
            self._listens_by_ms = None
            self._phase = Phase.DRAINING
            self._forget_unacknowledged()
            self._facts.append(Paused())
            self._send(Kind.GATEWAY_CLOSING)
            self._hurry_if_idle(now_ms)

    def shut(self, now_ms: int) -> None:
        """The gateway ends now: close, with the reason on which every SDK comes back."""
        if self._phase < Phase.DISCONNECTING:
            self._refuse(GOING_AWAY, GATEWAY_CLOSING, GATEWAY_DRAINING, now_ms)

    def fail(self, now_ms: int) -> None:
        """We cannot go on with this connection: an error of ours, or a peer that does not read."""
        if self._phase < Phase.DISCONNECTING:
            self._refuse(INTERNAL, INTERNAL_ERROR, UNEXPECTED, now_ms)

    def receive_garbage(self, now_ms: int) -> None:
        """A text message came, or one that is no envelope."""
        if self._phase < Phase.DISCONNECTING:
            self._refuse(INVALID_DATA, "failed to unmarshal Protobuf", UNEXPECTED, now_ms)

    def receive_broken(self, text: str, now_ms: int, code: int = PROTOCOL_ERROR) -> None:
        """The peer broke WebSocket's own rules."""
        if self._phase < Phase.DISCONNECTING:
            self._refuse(code, text, UNEXPECTED, now_ms)

    def receive_oversize(self, now_ms: int) -> None:
        """A message over `message_bytes_max` came, or is coming."""
        if self._phase < Phase.DISCONNECTING:
            text = f"read limited at {self.message_bytes_max + 1} bytes"
            self._refuse(TOO_BIG, text, MESSAGE_TOO_LARGE, now_ms)

    def turn_away(self, code: int, reason: str, now_ms: int) -> None:
        """Refuse a socket that just opened: it gets no HELLO."""
        assert self._phase is Phase.HANDSHAKING, "only a fresh socket is turned away"
        self._messages.clear()
        self._refuse(code, reason, UNEXPECTED, now_ms)

    def make_room(self, now_ms: int) -> None:
        """Others need the room of this socket, whose worker has not authenticated: end it now."""
        assert self._hello is None, "only a stranger makes room"
        if self._phase < Phase.DISCONNECTING:
            # This reason, because every SDK comes back on it.
            self._refuse(POLICY_VIOLATION, INTERNAL_ERROR, UNEXPECTED, now_ms)
        self._end = True

    def peer_closed(self, code: int, reason: str, now_ms: int) -> None:
        """The peer's close frame came: answer it once its last replies are settled.

        Args:
            code: 0 if the frame named none.
        """
        if self._phase is Phase.CLOSED:
            return
        if self._close_sent:
            self._end = True  # both halves are done
            self._deadline_ms = now_ms + CLOSE_WAIT_MS
            return
        if self._phase is Phase.DISCONNECTING:
            return
        self._peer_close = Close(code=code or NORMAL, reason=reason or "closed by the worker")
        self._leave(self._reason_for_leaving(reason), now_ms)
        if not self._uncommitted:
            self._answer_close(now_ms)

    def lost(self) -> None:
        """TCP has ended. Nothing can be sent any more."""
        if self._phase < Phase.DISCONNECTING:
            self._facts.append(Gone(reason=self._reason_for_leaving("")))
        self._phase = Phase.CLOSED
        self._messages, self._close, self._end = [], None, False

    # --- messages ---

    def _on_first(self, kind: int, payload: bytes, now_ms: int) -> None:
        if kind in (Kind.WORKER_REQUEST_EXTEND_LEASE, Kind.WORKER_REPLY):
            return
        if kind != Kind.WORKER_CONNECT:
            self._refuse(POLICY_VIOLATION, HELLO_INVALID_MESSAGE, UNEXPECTED, now_ms)
            return
        try:
            self._hello = read_hello(payload, self._config.authenticate, self._config.apps_max)
        except WireError as error:
            self._refuse(POLICY_VIOLATION, error.code, UNEXPECTED, now_ms)
            return
        self._facts.append(SyncWanted(hello=self._hello))

    def _on_ready(self, _payload: bytes, now_ms: int) -> None:
        self._listens_by_ms = None
        if self._drain_until_ms is not None:
            self._refuse(GOING_AWAY, GATEWAY_CLOSING, GATEWAY_DRAINING, now_ms)
        elif self._phase is Phase.READY and not self._attached:
            self._attached = True
            assert self._hello is not None, "a worker that is ready has introduced itself"
            if self._hello.manual_readiness:
                self._fresh_until_ms = now_ms + FRESH_MS
            self._facts.append(Ready())

    def _on_heartbeat(self, _payload: bytes, _now_ms: int) -> None:
        self._facts.append(Heartbeat())
        self._send(Kind.GATEWAY_HEARTBEAT)

    def _on_ack(self, payload: bytes, now_ms: int) -> None:
        try:
            request_id = WorkerRequestAckData.FromString(payload).request_id
        except DecodeError:
            self._refuse(POLICY_VIOLATION, ACK_INVALID, UNEXPECTED, now_ms)
            return
        if request_id in self._calls:
            self._calls[request_id] = True
        self._facts.append(Acked(request_id=request_id))

    def _on_extend(self, payload: bytes, now_ms: int) -> None:
        try:
            data = WorkerRequestExtendLeaseData.FromString(payload)
            lease_id = parse_ulid(data.lease_id)
        except (DecodeError, WireError):
            self._refuse(POLICY_VIOLATION, EXTEND_INVALID, UNEXPECTED, now_ms)
            return
        echo = WorkerRequestExtendLeaseAckData(
            request_id=data.request_id,
            account_id=data.account_id,
            env_id=data.env_id,
            app_id=data.app_id,
            function_slug=data.function_slug,
        )
        self._facts.append(
            ExtendWanted(
                request_id=data.request_id, lease_id=lease_id, echo=echo.SerializeToString()
            )
        )

    def _on_reply(self, payload: bytes, now_ms: int) -> None:
        try:
            data = SDKResponse.FromString(payload)
        except DecodeError:
            self._refuse(INTERNAL, INTERNAL_ERROR, UNEXPECTED, now_ms)
            return
        request_id = data.request_id
        self._calls.pop(request_id, None)
        self._uncommitted += 1
        self._facts.append(
            Replied(
                request_id=request_id,
                status=data.status,
                body=data.body,
                no_retry=data.no_retry,
                retry_after=data.retry_after if data.HasField("retry_after") else None,
                request_version=data.request_version,
            )
        )

    def _on_checkpoint(self, payload: bytes, now_ms: int) -> None:
        assert self._hello is not None, "only a worker that has introduced itself gets here"
        if not self._hello.is_ours:
            return  # a kind that was not agreed on is one that we do not know
        try:
            data = WorkerCheckpointData.FromString(payload)
        except DecodeError:
            self._refuse(INTERNAL, INTERNAL_ERROR, UNEXPECTED, now_ms)
            return
        if data.request_id in self._calls:
            self._calls[data.request_id] = True  # who reports of a call has taken it
        self._facts.append(
            Checkpointed(
                request_id=data.request_id, run_id=data.run_id, seq=data.seq, steps=data.steps
            )
        )

    def _on_pause(self, _payload: bytes, _now_ms: int) -> None:
        if self._paused:
            return
        self._paused = True
        self._listens_by_ms = None
        self._phase = Phase.DRAINING
        self._forget_unacknowledged()
        self._facts.append(Paused())

    # --- endings ---

    def _reason_for_leaving(self, reason: str) -> str:
        if self._paused and not self._calls:
            return WORKER_SHUTDOWN
        if reason:
            return reason
        return GATEWAY_DRAINING if self._drain_until_ms is not None else UNEXPECTED

    def _refuse(self, code: int, reason: str, gone: str, now_ms: int) -> None:
        """End from our side: a close frame, then nothing but waiting for the peer's."""
        self._leave(gone, now_ms)
        self._close_sent = True
        self._close = Close(code=code, reason=reason)

    def _leave(self, gone: str, now_ms: int) -> None:
        self._phase = Phase.DISCONNECTING
        self._deadline_ms = now_ms + CLOSE_WAIT_MS
        self._held.clear()
        self._facts.append(Gone(reason=gone))

    def _answer_close(self, now_ms: int) -> None:
        """The closing handshake is complete with this frame, so the server ends TCP."""
        assert self._peer_close is not None, "there is a close frame to answer"
        self._close_sent = True
        self._close = self._peer_close
        self._end = True
        self._deadline_ms = now_ms + CLOSE_WAIT_MS

    def _give_up_unheard(self) -> None:
        """Calls that the worker has read and not acknowledged are not in flight here."""
        for request_id in self._read:
            if self._calls.get(request_id) is False:
                del self._calls[request_id]
                self._facts.append(Unheard(request_id=request_id))
        self._read, self._read_by_ms = [], None

    def _forget_unacknowledged(self) -> None:
        """Calls that were not acknowledged go to another worker: they are not in flight here."""
        self._calls = {request_id: True for request_id, acked in self._calls.items() if acked}

    def _hurry_if_idle(self, now_ms: int) -> None:
        """Shorten the drain of a worker that has nothing in flight."""
        if self._drain_until_ms is not None and not self._calls and not self._uncommitted:
            self._drain_until_ms = min(self._drain_until_ms, now_ms + DRAIN_IDLE_MS)

    def _reply_settled(self, now_ms: int) -> None:
        self._uncommitted -= 1
        self._hurry_if_idle(now_ms)
        leaving = self._phase is _DISCONNECTING and not self._close_sent
        if leaving and not self._uncommitted:
            self._answer_close(now_ms)

    def _send(self, kind: Kind, payload: bytes = b"") -> None:
        self._messages.append(frames.envelope(kind, payload))
