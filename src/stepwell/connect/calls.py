"""The calls that a worker has taken, over all its sockets: leases, replies, and what was done.

Pure: it decides, the worker sends. A call is here from its acknowledgement until the server has
acknowledged the reply; then its reply is remembered for a while, so that a call that is delivered
again is answered again and not run again.

    came -> running -> replied (waits for REPLY_ACK) -> recent
                |
                '-> lost: the server gave the call to somebody else; its result is of no use

Bounds: `CALLS_MAX` running calls, and `WAITING_BYTES_MAX` of replies that wait. At either limit no
call is taken, and the server gives it to others; nothing that was done is dropped. So replies pass
their limit by what was running when it was reached, and by no more. Recent replies have a limit in
bytes too, and the oldest of those go.
Source: docs/reference/wire/connect.md, "leases", "replies".
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from stepwell.config import SDK_NAME
from stepwell.errors import StepwellError
from stepwell.execution import EXECUTION_VERSION
from stepwell.outcome import error_outcome
from stepwell.wire.connect import (
    GatewayExecutorRequestData,
    SDKResponse,
    Status,
    WorkerRequestAckData,
    WorkerRequestExtendLeaseData,
)

if TYPE_CHECKING:
    from stepwell.outcome import Outcome

CALLS_MAX = 10_000
WAITING_BYTES_MAX = 64 * 2**20

ROOM_PART = 0.75
"""Calls are taken again when the replies that wait are down to this part of their limit; without a
gap between the two, every acknowledgement would let one call in and change the worker's state."""

RECENT_MAX = 1_000
RECENT_BYTES_MAX = 16 * 2**20

RESEND_MS = 5_000
"""A reply that was not acknowledged for so long after it left is sent again. The server may have
failed to store it, and says so by saying nothing. On a slow line, where the acknowledgement of the
last one took longer than half of this, it is twice that time: a second copy would only make it
slower."""

RESEND_MS_MAX = 60_000

SHRUNK_BYTES_MAX = 4 * 2**10
"""A reply of this size that a gateway finds too large cannot be replaced by a smaller one."""

_STATUS = {"ops": Status.NOT_COMPLETED, "result": Status.DONE, "error": Status.ERROR}


class Arrival(Enum):
    """What to do with a call that was delivered."""

    RUN = "run"  # acknowledge it and run it
    RUNNING = "running"  # acknowledge it; it runs already
    DONE = "done"  # acknowledge it and send `reply_of`
    REFUSED = "refused"  # no acknowledgement: the server gives it to another worker


class Saturation(Enum):
    """Why no call is taken."""

    REPLIES = "replies"  # too many bytes of replies wait for the server
    CALLS = "calls"  # too many calls run


class _Running:
    __slots__ = ("extend_at_ms", "lease_id", "lost", "request")

    def __init__(self, request: GatewayExecutorRequestData, extend_at_ms: int) -> None:
        self.request = request
        self.lease_id = request.lease_id
        self.extend_at_ms = extend_at_ms
        self.lost = False


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A serialised `SDKResponse` and the call that it answers."""

    request_id: str
    payload: bytes


class _Waiting:
    __slots__ = ("left_at_ms", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.left_at_ms: int | None = None  # for the first time, on the present socket


class Calls:
    """See above. Running calls are in the order in which their extension is due."""

    def __init__(
        self, *, calls_max: int = CALLS_MAX, waiting_bytes_max: int = WAITING_BYTES_MAX
    ) -> None:
        self._calls_max = calls_max
        self._waiting_bytes_max = waiting_bytes_max
        self._extend_ms = RESEND_MS
        self._running: OrderedDict[str, _Running] = OrderedDict()
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._on_its_way: OrderedDict[str, int] = OrderedDict()  # when the last copy left
        self._resend_ms = RESEND_MS
        self._waiting_bytes = 0
        self._replies_full = False
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._recent_bytes = 0

    # --- what there is ---

    @property
    def running_count(self) -> int:
        """Calls whose outcome is not known yet, lost ones included."""
        return len(self._running)

    @property
    def waiting_count(self) -> int:
        """Replies that the server has not acknowledged."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """The size of those replies."""
        return self._waiting_bytes

    @property
    def saturation(self) -> Saturation | None:
        """Why no call is taken; None if calls are."""
        if self._replies_full:
            return Saturation.REPLIES
        if len(self._running) >= self._calls_max:
            return Saturation.CALLS
        return None

    def waiting(self) -> list[Reply]:
        """Those replies, oldest first."""
        return [Reply(request_id=key, payload=one.payload) for key, one in self._waiting.items()]

    def largest_waiting(self) -> Reply | None:
        """The largest of them."""
        return max(self.waiting(), key=lambda reply: len(reply.payload), default=None)

    @staticmethod
    def ack_of(request: GatewayExecutorRequestData) -> bytes:
        """The acknowledgement of a call, as far as the server may write it into its log."""
        return _ack(request)

    def reply_of(self, request_id: str) -> bytes | None:
        """The reply to a call that is done, if it is still known."""
        waiting = self._waiting.get(request_id)
        return waiting.payload if waiting is not None else self._recent.get(request_id)

    # --- what happened ---

    def came(self, request: GatewayExecutorRequestData, now_ms: int) -> Arrival:
        """A call was delivered."""
        request_id = request.request_id
        if (running := self._running.get(request_id)) is not None:
            return Arrival.REFUSED if running.lost else Arrival.RUNNING
        if request_id in self._waiting or request_id in self._recent:
            return Arrival.DONE
        if self.saturation is not None:
            return Arrival.REFUSED
        self._running[request_id] = _Running(request, now_ms + self._extend_ms)
        return Arrival.RUN

    def finished(self, request_id: str, outcome: Outcome) -> bytes | None:
        """A call's outcome is known.

        Returns:
            The reply to send, or None if nobody waits for it any more. Say `reply_left` when it
            is on its way.
        """
        running = self._running.pop(request_id, None)
        if running is None or running.lost:
            return None
        payload = _reply(running.request, outcome)
        self._waiting[request_id] = _Waiting(payload)
        self._wait_for(len(payload))
        return payload

    def reply_left(self, request_id: str, now_ms: int) -> None:
        """A reply was written to the present socket: from now on its acknowledgement is due."""
        waiting = self._waiting.get(request_id)
        if waiting is None or request_id in self._on_its_way:
            return
        self._on_its_way[request_id] = now_ms
        if waiting.left_at_ms is None:
            waiting.left_at_ms = now_ms

    def shrink(self, request_id: str) -> Reply | None:
        """A reply is too large for the server: an error that fails the run takes its place.

        Returns:
            The error to send; None if the reply does not wait any more, also because it was small
            already and is given up.
        """
        waiting = self._waiting.get(request_id)
        if waiting is None:
            return None
        seen = len(waiting.payload)
        self._wait_for(-seen)
        self._on_its_way.pop(request_id, None)
        if seen <= SHRUNK_BYTES_MAX:
            del self._waiting[request_id]
            return None
        payload = _too_large_reply(waiting.payload)
        self._waiting[request_id] = _Waiting(payload)
        self._wait_for(len(payload))
        return Reply(request_id=request_id, payload=payload)

    def dropped(self, request_id: str) -> None:
        """A call ended without an outcome: it was cancelled because it was lost, or at the end."""
        self._running.pop(request_id, None)

    def reply_acked(self, request_id: str, now_ms: int | None = None) -> None:
        """The server has a reply.

        Args:
            now_ms: When it said so, on the socket; None if it said so elsewhere.
        """
        waiting = self._waiting.pop(request_id, None)
        if waiting is None:
            return
        self._on_its_way.pop(request_id, None)
        if now_ms is not None and waiting.left_at_ms is not None:
            took_ms = now_ms - waiting.left_at_ms
            self._resend_ms = min(max(RESEND_MS, 2 * took_ms), RESEND_MS_MAX)
        payload = waiting.payload
        self._wait_for(-len(payload))
        self._recent[request_id] = payload
        self._recent_bytes += len(payload)
        while len(self._recent) > RECENT_MAX or self._recent_bytes > RECENT_BYTES_MAX:
            _, oldest = self._recent.popitem(last=False)
            self._recent_bytes -= len(oldest)

    def lease_answered(self, request_id: str, lease_id: str | None) -> bool:
        """The server answered an extension.

        Returns:
            Whether this tells, for the first time, that a running call was lost: cancel it.
        """
        running = self._running.get(request_id)
        if running is None or running.lost:
            return False
        if lease_id is None:
            running.lost = True
            return True
        running.lease_id = lease_id
        return False

    def connected(self, extend_lease_ms: int, now_ms: int) -> list[bytes]:
        """A new socket is ready: whatever left on another one may not have arrived.

        Returns:
            The lease extensions to send on it; the caller also sends all of `waiting`.
        """
        self._extend_ms = extend_lease_ms
        self._resend_ms = RESEND_MS
        self._on_its_way.clear()
        for waiting in self._waiting.values():
            waiting.left_at_ms = None
        extensions = []
        for running in self._running.values():
            running.extend_at_ms = now_ms + extend_lease_ms
            if not running.lost:
                extensions.append(_extension(running))
        return extensions

    # --- time ---

    def next_wakeup_ms(self) -> int | None:
        """When `due_extensions` or `due_replies` will have something; None if never."""
        times = []
        if self._running:
            times.append(next(iter(self._running.values())).extend_at_ms)
        if self._on_its_way:
            times.append(next(iter(self._on_its_way.values())) + self._resend_ms)
        return min(times, default=None)

    def due_extensions(self, now_ms: int) -> list[bytes]:
        """The lease extensions to send now; each is due again after the advertised interval."""
        extensions = []
        while self._running:
            request_id, running = next(iter(self._running.items()))
            if running.extend_at_ms > now_ms:
                break
            running.extend_at_ms = now_ms + self._extend_ms
            self._running.move_to_end(request_id)
            if not running.lost:
                extensions.append(_extension(running))
        return extensions

    def due_replies(self, now_ms: int) -> list[Reply]:
        """The replies to send again now; each is due again when that copy has left, and waited."""
        replies = []
        while self._on_its_way:
            request_id, left_at_ms = next(iter(self._on_its_way.items()))
            if left_at_ms + self._resend_ms > now_ms:
                break
            del self._on_its_way[request_id]
            replies.append(Reply(request_id=request_id, payload=self._waiting[request_id].payload))
        return replies

    # --- bounds ---

    def _wait_for(self, size: int) -> None:
        """So many more bytes of replies wait, or fewer."""
        self._waiting_bytes += size
        if self._waiting_bytes >= self._waiting_bytes_max:
            self._replies_full = True
        elif self._waiting_bytes <= self._waiting_bytes_max * ROOM_PART:
            self._replies_full = False


def _ack(request: GatewayExecutorRequestData) -> bytes:
    ack = WorkerRequestAckData(
        request_id=request.request_id,
        account_id=request.account_id,
        env_id=request.env_id,
        app_id=request.app_id,
        function_slug=request.function_slug,
        system_trace_ctx=request.system_trace_ctx,
        user_trace_ctx=request.user_trace_ctx,
        run_id=request.run_id,
    )
    if request.HasField("step_id"):
        ack.step_id = request.step_id
    return ack.SerializeToString()


def _extension(running: _Running) -> bytes:
    """Its first nine fields are those of the acknowledgement, so their bytes are the same."""
    lease = WorkerRequestExtendLeaseData(lease_id=running.lease_id)
    return _ack(running.request) + lease.SerializeToString()


def _reply(request: GatewayExecutorRequestData, outcome: Outcome) -> bytes:
    reply = SDKResponse(
        request_id=request.request_id,
        account_id=request.account_id,
        env_id=request.env_id,
        app_id=request.app_id,
        status=int(_STATUS[outcome.kind]),  # type: ignore[arg-type]
        body=outcome.body,
        no_retry=outcome.no_retry,
        sdk_version=SDK_NAME,
        request_version=EXECUTION_VERSION,
        system_trace_ctx=request.system_trace_ctx,
        user_trace_ctx=request.user_trace_ctx,
        run_id=request.run_id,
    )
    if outcome.retry_after is not None:
        reply.retry_after = outcome.retry_after
    return reply.SerializeToString()


def _too_large_reply(payload: bytes) -> bytes:
    """The reply to the same call that says that its real one is too large."""
    reply = SDKResponse.FromString(payload)
    error = StepwellError(
        f"the reply to this call has {len(payload)} bytes, which is more than the server takes; "
        "store what is large elsewhere and return a reference",
        code="output_too_large",
    )
    outcome = error_outcome(error, no_retry=True)
    reply.status = int(_STATUS[outcome.kind])  # type: ignore[assignment]
    reply.body = outcome.body
    reply.no_retry = outcome.no_retry
    reply.ClearField("retry_after")
    return reply.SerializeToString()
