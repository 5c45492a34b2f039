"""Carries the facts of one session to the runtime and the book of workers, in their order.

Every call of the runtime here returns at once: a reply is handed over with a callback, so that a
commit on disk holds up nothing behind it. Only the registration of the apps is awaited, in a task
of its own; whatever else the worker sends meanwhile is held by the session.

The callbacks of a commit come before the runtime flushes the calls of the same commit, so
acknowledgements and calls leave in one write.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol, assert_never

from stepwell.errors import StepwellError
from stepwell.server.gateway.facts import (
    Acked,
    Checkpointed,
    ExtendWanted,
    Gone,
    Heartbeat,
    Paused,
    Quiet,
    Ready,
    Replied,
    SyncWanted,
    Unheard,
)
from stepwell.server.gateway.session import INTERNAL_ERROR, Phase
from stepwell.server.runtime import Attached
from stepwell.server.workers import WorkerApp, WorkerInfo, WorkerStatus
from stepwell.wire.ids import ulid_text
from stepwell.wire.ops import parse_ops
from stepwell.wire.outcomes import outcome_from_connect

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from stepwell.server.gateway.clock import Clock
    from stepwell.server.gateway.facts import Fact
    from stepwell.server.gateway.hello import Hello
    from stepwell.server.gateway.registration import Registrar
    from stepwell.server.gateway.session import Session
    from stepwell.server.runtime import CheckpointRefusal, MakeCall, Runtime
    from stepwell.server.workers import WorkerBook
    from stepwell.wire.functions import Registration
    from stepwell.wire.ids import RequestId

PENDING_MAX = 1_000
PENDING_BYTES_MAX = 16 * 2**20
"""Replies of one worker that are not stored yet; beyond that nothing more is read from its socket
until half of them are."""

_log = logging.getLogger(__name__)


class Wire(Protocol):
    """What a connection asks of its socket."""

    def send_now(self) -> None:
        """Send the session's output."""
        ...

    def send_soon(self) -> None:
        """Send the session's output once this turn of the loop is over."""
        ...

    def pause_reading(self) -> None:
        """Leave in the network what the worker sends. Idempotent."""
        ...

    def resume_reading(self) -> None:
        """Read on. Idempotent."""
        ...


class Shared(Protocol):
    """What all connections of a gateway share."""

    @property
    def runtime(self) -> Runtime: ...
    @property
    def book(self) -> WorkerBook: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def registrar(self) -> Registrar: ...

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Run `work` as a task of the gateway."""
        ...

    def versions_changed(self) -> None:
        """A worker left: another version of its apps may have to be put in force."""
        ...


class Connection:
    """One worker's connection: the port that the runtime sends calls through."""

    def __init__(self, *, shared: Shared, session: Session, wire: Wire, address: str) -> None:
        self._shared = shared
        self._runtime = shared.runtime
        self._session = session
        self._wire = wire
        self._address = address
        self._id = ""  # known with the hello
        self._registrations: tuple[Registration, ...] = ()
        self._attached = False
        self._said_goodbye = False
        self._refusal = ""  # why its apps were not taken
        self._calls: deque[MakeCall] = deque()  # not yet made and given to the session
        self._pending = 0
        self._pending_bytes = 0

    @property
    def id(self) -> str:
        """The connection id, empty before the worker authenticated."""
        return self._id

    # --- the runtime's side: `WorkerPort` ---

    def send_call(self, make: MakeCall) -> None:
        """Send a call from the next flush on.

        It is made and leaves when the worker has read enough of what came before it, so that
        many large calls are never in memory together.
        """
        self._calls.append(make)

    def flush(self) -> None:
        """Send what was buffered, together with the acknowledgements of the same commit."""
        self._wire.send_now()

    def withdraw(self, request_id: RequestId) -> None:
        """Tell the worker that the call's run was cancelled, if it is one that listens for it."""
        self._session.withdraw_call(ulid_text(request_id))
        self._wire.send_soon()

    # --- the socket's side ---

    @property
    def calls_wait(self) -> bool:
        """Whether calls wait for `release_calls`."""
        return bool(self._calls)

    def release_calls(self, room_bytes: int) -> None:
        """Give calls to the session until so many bytes are reached; at least one."""
        while self._calls:
            made = self._calls.popleft()()
            if made is None:
                continue
            request_id, payload = made
            self._session.send_call(request_id, payload)
            room_bytes -= len(payload)
            if room_bytes <= 0:
                return

    def carry(self, facts: list[Fact]) -> None:
        """Tell the runtime what the session found out."""
        for fact in facts:
            self._carry(fact)

    def goodbye(self) -> None:
        """The worker closed the socket itself: it has not begun what it has not acknowledged."""
        self._said_goodbye = True
        self._detach()

    def ended(self) -> None:
        """The socket is gone, after the facts that say so were carried."""
        self._shared.book.disconnected(self._id, self._runtime.now_ms())

    # --- facts ---

    def _carry(self, fact: Fact) -> None:
        match fact:
            case Replied():
                self._report(fact)
            case Checkpointed():
                self._checkpoint(fact)
            case Acked():
                self._runtime.acked(connection_id=self._id, request_id=fact.request_id)
            case Unheard():
                _log.info(
                    "a worker dropped a call that came before it was ready; it is sent again",
                    extra={"request": fact.request_id, "connection": self._id},
                )
                self._runtime.unheard(connection_id=self._id, request_id=fact.request_id)
            case Heartbeat():
                self._shared.book.heartbeat(self._id, self._runtime.now_ms())
            case ExtendWanted():
                lease_id = self._runtime.extend_lease(
                    connection_id=self._id, request_id=fact.request_id, lease_id=fact.lease_id
                )
                self._session.lease_extended(fact, lease_id)
            case Ready():
                self._attach()
            case Paused():
                self._calls.clear()  # the runtime gives them to another worker
                self._shared.book.status(self._id, WorkerStatus.DRAINING)
                self._detach()
            case Quiet():
                _log.warning(
                    "worker is silent; its new calls go elsewhere", extra={"connection": self._id}
                )
                self._detach()
            case Gone():
                self._leave(fact.reason)
            case SyncWanted():
                self._id = fact.hello.connection_id
                self._shared.book.connected(
                    _worker_info(fact.hello, self._address, self._runtime.now_ms())
                )
                self._shared.start(self._register(fact.hello))
            case _:
                assert_never(fact)

    def _attach(self) -> None:
        hello = self._session.hello
        assert hello is not None, "a worker is ready after its hello"
        self._attached = True
        self._shared.book.status(self._id, WorkerStatus.READY)
        _log.info(
            "worker ready",
            extra={
                "instance": hello.instance_id,
                "apps": ",".join(app.name for app in hello.apps),
                "connection": self._id,
            },
        )
        self._runtime.attach(
            Attached(
                connection_id=self._id,
                instance_id=hello.instance_id,
                limit=hello.limit,
                functions=frozenset(
                    (registration.app_name, function.slug)
                    for registration in self._registrations
                    for function in registration.functions
                ),
                version_ms=self._shared.registrar.since_ms(self._registrations),
                versions={each.app_name: each.version_name for each in self._registrations},
                port=self,
            )
        )

    def _detach(self) -> None:
        if self._attached:
            self._attached = False
            self._runtime.detach(self._id)

    def _leave(self, reason: str) -> None:
        self._calls.clear()
        hello = self._session.hello
        if hello is None:
            return
        self._shared.book.leaving(self._id, self._refusal or reason)
        if not self._refusal:
            _log.info(
                "worker gone",
                extra={"instance": hello.instance_id, "reason": reason, "connection": self._id},
            )
        # Also of a worker that was never ready: it may have extended the lease of a call that it
        # took on another socket, and then it is this one's end that counts.
        self._runtime.gone(self._id)
        if self._registrations:
            self._dismiss()

    def _dismiss(self) -> None:
        self._shared.registrar.dismiss(
            self._id, self._registrations, cut_off=not self._said_goodbye
        )
        self._registrations = ()
        self._shared.versions_changed()

    def _report(self, reply: Replied) -> None:
        """Have a reply stored; the worker hears of it when it is durable."""
        bytes_held = len(reply.body)
        self._hold(bytes_held)

        def done(accepted: bool, error: StepwellError | None) -> None:
            self._let_go(bytes_held)
            now_ms = self._shared.clock.now_ms()
            if error is None:  # accepted or stale: either way the worker is done with it
                if accepted:
                    self._shared.book.answered(self._id)
                else:
                    extra = {"request": reply.request_id, "connection": self._id}
                    _log.debug("a late reply is refused: its call is not out any more", extra=extra)
                self._session.reply_committed(reply.request_id, now_ms)
            else:
                extra = {"request": reply.request_id, "code": error.code}
                _log.warning("a reply is not stored: %s", error, extra=extra)
                self._session.reply_not_stored(now_ms)
            self._wire.send_soon()

        outcome = outcome_from_connect(
            status=reply.status,
            body=reply.body,
            no_retry=reply.no_retry,
            retry_after=reply.retry_after,
            request_version=reply.request_version,
            now_ms=self._runtime.now_ms() if reply.retry_after else 0,  # only then it counts
        )
        self._runtime.submit_report(request_id=reply.request_id, outcome=outcome, done=done)

    def _checkpoint(self, checkpoint: Checkpointed) -> None:
        """Have steps stored; the worker hears of it when they are durable, or why they are not."""
        try:
            ops = parse_ops(checkpoint.steps)
        except StepwellError as error:
            self._session.checkpoint_answered(checkpoint, error.code)
            self._wire.send_soon()
            return
        bytes_held = len(checkpoint.steps)
        self._hold(bytes_held)

        def done(refusal: CheckpointRefusal | None, error: StepwellError | None) -> None:
            self._let_go(bytes_held)
            if error is not None:
                extra = {"request": checkpoint.request_id, "code": error.code}
                _log.warning("steps are not stored: %s", error, extra=extra)
            self._session.checkpoint_answered(checkpoint, refusal if error is None else error.code)
            if self._pending or refusal is not None or error is not None:
                self._wire.send_soon()  # with the answers to the others; or this is no commit's end
            else:
                self._wire.send_now()

        self._runtime.submit_checkpoint(
            run_id=checkpoint.run_id, request_id=checkpoint.request_id, ops=ops, done=done
        )

    def _hold(self, size: int) -> None:
        """Something is on its way to the store: a worker that sends faster has to wait."""
        self._pending += 1
        self._pending_bytes += size
        if self._pending >= PENDING_MAX or self._pending_bytes >= PENDING_BYTES_MAX:
            self._wire.pause_reading()

    def _let_go(self, size: int) -> None:
        self._pending -= 1
        self._pending_bytes -= size
        if self._pending <= PENDING_MAX // 2 and self._pending_bytes <= PENDING_BYTES_MAX // 2:
            self._wire.resume_reading()

    async def _register(self, hello: Hello) -> None:
        session = self._session
        try:
            registrations = await self._shared.registrar.admit(hello)
        except StepwellError as error:
            now_ms = self._shared.clock.now_ms()
            if error.status < 500:
                self._refusal = error.message
                self._shared.registrar.log_refusal(hello.instance_id, error.message)
                session.sync_failed(error.code, error.message, now_ms)
            else:
                _log.warning("apps not stored: %s", error, extra={"instance": hello.instance_id})
                session.sync_failed(INTERNAL_ERROR, "the server cannot store this now", now_ms)
        except TimeoutError:
            _log.warning("registration took too long", extra={"instance": hello.instance_id})
            session.sync_failed(
                INTERNAL_ERROR,
                "the server is too busy to register the apps now",
                self._shared.clock.now_ms(),
            )
        except Exception:
            _log.exception("cannot register apps", extra={"instance": hello.instance_id})
            session.fail(self._shared.clock.now_ms())
        else:
            self._registrations = registrations
            if session.phase is Phase.HANDSHAKING:
                self._shared.book.synced(self._id, self._shared.registrar.apps(registrations))
                session.synced(self._shared.clock.now_ms())
            else:  # the socket ended meanwhile
                self._dismiss()
        finally:
            self._wire.send_soon()


def _worker_info(hello: Hello, address: str, now_ms: int) -> WorkerInfo:
    return WorkerInfo(
        connection_id=hello.connection_id,
        instance_id=hello.instance_id,
        apps=tuple(
            WorkerApp(name=app.name, version=app.version, function_count=0) for app in hello.apps
        ),
        status=WorkerStatus.CONNECTED,
        connected_at_ms=hello.started_ms,
        last_heartbeat_ms=now_ms,
        sdk_language=hello.sdk_language,
        sdk_version=hello.sdk_version,
        platform=hello.platform,
        ip=address,
        os=hello.os,
        cpu_cores=hello.cpu_cores,
        mem_bytes=hello.mem_bytes,
        max_worker_concurrency=hello.limit,
    )
