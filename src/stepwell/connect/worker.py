"""A worker's life on the protocol thread: always one socket that takes calls, or the next attempt.

It joins the parts: `Session` and `Calls` decide, `Link` and `ConnectHttp` move bytes, `Executor`
runs functions. Messages and outcomes may come on any thread (see `DirectLink`): the calls, the
sessions and the current link belong to whoever holds the lock; the rest to the protocol's loop.

A gateway that leaves is replaced before it is left (make before break); a lost one
is replaced for as long as it takes. Replies and lease extensions go to whichever socket is
current, because the server takes them on any.

Source: docs/reference/wire/connect.md, "leases", "liveness", "drain".
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

import msgspec

from stepwell.connect import session as facts
from stepwell.connect.blocked import LoopWatch
from stepwell.connect.calls import Arrival, Calls, Reply
from stepwell.connect.dial import PlainSocket, dial
from stepwell.connect.direct_link import DirectLink
from stepwell.connect.hello import App, build_hello
from stepwell.connect.http import ConnectHttp, ReplyTooLarge, ServerUnreachable
from stepwell.connect.link import TOO_BIG
from stepwell.connect.loop_link import LoopLink
from stepwell.connect.session import Fact, Session
from stepwell.connect.state import ConnectionState, StateCell
from stepwell.errors import AuthError, ConfigError, StepwellError

if TYPE_CHECKING:
    from stepwell.connect.backoff import Backoff
    from stepwell.connect.dial import Opened
    from stepwell.connect.executor import Executor
    from stepwell.connect.link import Link
    from stepwell.outcome import Outcome
    from stepwell.wire.connect import GatewayExecutorRequestData, StartResponse

GATEWAY_CLOSING = "connect_gateway_closing"
INTERNAL_ERROR = "connect_internal_error"
TOO_MANY_APPS = "connect_too_many_apps_per_connection"

_log = logging.getLogger("stepwell.connect")


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long a worker waits for what; the defaults are for production.

    Attributes:
        flush_after_ms: Without a socket for so long, replies leave over HTTP.
        flush_again_ms: How long after a failed flush the next one may come.
        ack_wait_ms: At the end, how long replies may wait for their acknowledgement on the socket.
        hurry_ms: How long the rest may take when the worker was told twice to stop.
        blocked_after_ms: After how long a blocked event loop of the program is worth a warning.
    """

    flush_after_ms: int = 3_000
    flush_again_ms: int = 5_000
    ack_wait_ms: int = 5_000
    hurry_ms: int = 2_000
    blocked_after_ms: int = 5_000


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to connect, and where."""

    apps: tuple[App, ...]
    instance_id: str
    env: str | None
    max_worker_concurrency: int
    rewrite_gateway_endpoint: Callable[[str], str] | None
    timing: Timing


class Worker:
    """See above. `run` is its whole life."""

    def __init__(
        self,
        plan: Plan,
        *,
        http: ConnectHttp,
        state: StateCell,
        backoff: Backoff,
    ) -> None:
        self._plan = plan
        self._http = http
        self._state = state
        self._backoff = backoff
        self._calls = Calls()
        self._executor: Executor | None = None
        self._current: Link | None = None
        self._connection_id: str | None = None
        self._was_active = False
        self._troubles: set[str] = set()  # failures to connect that were logged
        self._fatal: StepwellError | None = None
        self._timer: asyncio.Handle | None = None
        self._timer_s = 0.0  # when it fires; uvloop's handle of what is due at once cannot say
        self._lock = threading.RLock()  # a signal may come while it is held
        self._close_requests = 0
        self._thread_id = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._changed: asyncio.Event = asyncio.Event()

    # --- from any thread ---

    @property
    def connection_id(self) -> str | None:
        """Of the latest start response."""
        return self._connection_id

    @property
    def running_count(self) -> int:
        """How many calls are in flight."""
        return self._calls.running_count

    @property
    def is_replacing(self) -> bool:
        """Whether the present socket is left because its gateway is leaving."""
        return self._current is not None and self._current.is_draining

    def request_close(self) -> None:
        """Finish what is in flight and end. The second time: do not wait for it."""
        with self._lock:
            self._close_requests += 1
            loop = self._loop
        if loop is not None:
            _tell(loop, self._changed.set)

    def finished(self, request_id: str, outcome: Outcome | None) -> None:
        """A call has ended; without an outcome if it was cancelled."""
        with self._lock:
            calls, link = self._calls, self._current
            if outcome is None:
                calls.dropped(request_id)
            else:
                payload = calls.finished(request_id, outcome)
                if payload is not None and link is not None:
                    link.session.reply(request_id, payload)
                    link.kick()
                for dropped in calls.evict():
                    self._say(
                        logging.WARNING,
                        "too many replies wait for the server; the one to call %s is dropped, and "
                        "the server runs that call again",
                        dropped,
                    )
            self._progressed()

    # --- the life ---

    async def run(self, executor: Executor) -> None:
        """Connect and stay connected until told to close.

        Raises:
            AuthError: No key was accepted.
            ConfigError: The server refused the apps, or the gateway's address is unusable.
        """
        self._executor = executor
        executor.begin()
        self._thread_id = threading.get_ident()
        with self._lock:
            self._loop = asyncio.get_running_loop()
        try:
            async with self._http, asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                keeper = tasks.create_task(self._keep_connected(), name="stepwell-keeper")
                flusher = tasks.create_task(self._flush_when_cut_off(), name="stepwell-flusher")
                blocked_after_ms = self._plan.timing.blocked_after_ms
                watch = LoopWatch(executor, blocked_after_ms=blocked_after_ms)
                watcher = tasks.create_task(watch.run(), name="stepwell-watcher")
                await self._until(lambda: self._closing or self._fatal is not None)
                if self._fatal is None:
                    await self._shut_down()
                keeper.cancel()
                flusher.cancel()
                watcher.cancel()
                with self._lock:
                    if self._current is not None:
                        self._current.close("WORKER_SHUTDOWN")
        finally:
            if self._timer is not None:
                self._timer.cancel()
        if self._fatal is not None:
            raise self._fatal

    @property
    def _closing(self) -> bool:
        return self._close_requests > 0

    @property
    def _hurrying(self) -> bool:
        return self._close_requests > 1

    async def _shut_down(self) -> None:
        """Finish what is in flight; heartbeats, leases and reconnects go on meanwhile."""
        self._state.move(ConnectionState.CLOSING)
        with self._lock:
            if self._current is not None:
                self._current.session.pause()
                self._current.kick()
        calls, timing = self._calls, self._plan.timing
        await self._until(lambda: calls.running_count == 0 or self._hurrying)
        if calls.running_count:
            _log.warning("stopping with %d calls unfinished", calls.running_count)
            assert self._executor is not None, "set by run()"
            self._executor.cancel_all()
        # With the socket, replies are acknowledged in a moment; without one there is HTTP.
        wait_ms = timing.hurry_ms if self._hurrying else timing.ack_wait_ms
        await self._until(
            lambda: calls.waiting_count == 0 or self._current is None, timeout_ms=wait_ms
        )
        if calls.waiting_count:
            await self._flush(deadline_ms=wait_ms)
        for reply in self._waiting():
            _log.warning("the reply to call %s could not be delivered", reply.request_id)

    # --- connecting ---

    async def _keep_connected(self) -> None:
        leaving_group: str | None = None
        at_once = True
        try:
            while True:
                link = await self._connect(leaving_group, at_once=at_once)
                connected_ms = self._now_ms()
                await self._left(link)
                self._backoff.ended(held_ms=self._now_ms() - connected_ms)
                self._state.move(ConnectionState.RECONNECTING)
                leaving_group = link.group
                at_once = link.is_draining or link.close_reason == GATEWAY_CLOSING
        except StepwellError as error:
            self._fatal = error
            self._changed.set()

    async def _left(self, link: Link) -> None:
        await self._until(lambda: link.is_leaving)

    async def _connect(self, leaving_group: str | None, *, at_once: bool) -> Link:
        """Try until a handshake succeeds.

        Raises:
            AuthError, ConfigError: Trying again cannot help, and never has.
        """
        exclude = [] if leaving_group is None else [leaving_group]
        while True:
            delay_ms = self._backoff.next_delay_ms(at_once=at_once)
            at_once = False
            await asyncio.sleep(delay_ms / 1000)
            try:
                return await self._attempt(exclude)
            except ServerUnreachable as error:
                self._report(error)
            except (AuthError, ConfigError) as error:
                # A worker that has been active goes on trying: keys and servers change, and the
                # old key may be back in a moment. One that has never been is told at once.
                if not self._was_active:
                    raise
                self._report(error)

    async def _attempt(self, exclude: Sequence[str]) -> Link:
        start = await self._http.start(exclude)
        self._connection_id = start.connection_id
        url = self._endpoint(start)
        socket = await dial(url)
        plan = self._plan
        hello = build_hello(
            start,
            apps=plan.apps,
            instance_id=plan.instance_id,
            env=plan.env,
            max_worker_concurrency=plan.max_worker_concurrency,
        )
        link = self._link(socket, Session(hello, self._now_ms()), start)
        assert self._tasks is not None, "set by run()"
        self._tasks.create_task(self._serve(link), name=f"stepwell-link-{link.connection_id}")
        try:
            await link.ready
        except ServerUnreachable as error:
            if link.close_reason == TOO_MANY_APPS:
                raise ConfigError(
                    f"the server takes fewer than {len(plan.apps)} apps on one connection",
                    code=TOO_MANY_APPS,
                ) from error
            raise
        finally:
            if self._current is not link:
                link.close("WORKER_SHUTDOWN")
        return link

    def _link(self, socket: Opened, session: Session, start: StartResponse) -> Link:
        executor = self._executor
        assert executor is not None, "set by run()"
        common = {
            "lock": self._lock,
            "connection_id": start.connection_id,
            "group": start.gateway_group,
            "on_fact": self._on_fact,
            "on_reply_left": self._on_reply_left,
        }
        if isinstance(socket, PlainSocket):
            return DirectLink(socket, session, caller=executor, **common)
        return LoopLink(socket, session, **common)

    def _endpoint(self, start: StartResponse) -> str:
        url = start.gateway_endpoint
        if (rewrite := self._plan.rewrite_gateway_endpoint) is not None:
            try:
                url = rewrite(url)
            except Exception as error:  # the program's own function
                raise ConfigError(f"rewrite_gateway_endpoint failed: {error!r}") from error
        if _is_gateway_address(url):
            return url
        text = (
            f"the gateway's address {url!r} is not one; it must look like ws://host:8289/v0/connect"
        )
        if rewrite is None:
            raise ServerUnreachable(text)  # the server's mistake, which it may mend
        raise ConfigError(text, code="url_invalid")

    def _adopt(self, link: Link, extend_lease_ms: int) -> None:
        """Make this the current socket, and tell it everything that may have been missed.

        In the same turn as the end of the handshake, so that no call and no reply falls between.
        """
        old, self._current = self._current, link
        session = link.session
        for reply in self._calls.waiting():
            session.reply(reply.request_id, reply.payload)
        for extension in self._calls.connected(extend_lease_ms, self._now_ms()):
            session.extend_lease(extension)
        if self._closing:
            session.pause()
        if old is not None:
            old.close("GATEWAY_DRAINING")
        self._was_active = True
        self._troubles.clear()
        self._arm()
        self._changed.set()

    async def _serve(self, link: Link) -> None:
        try:
            await link.run()
        finally:
            if link.close_code == TOO_BIG and link.was_ready:
                # It does not say which message it was. None of them may be sent for ever.
                with self._lock:
                    reply = self._calls.largest_waiting()
                    if reply is not None:
                        self._shrink(reply)
            self._forget(link)

    def _forget(self, link: Link) -> None:
        """A socket is of no more use."""
        with self._lock:
            if self._current is link:
                self._current = None
        self._changed.set()

    def _shrink(self, reply: Reply) -> Reply | None:
        """The server finds a reply too large: it gets an error instead, or nothing."""
        with self._lock:
            smaller = self._calls.shrink(reply.request_id)
        self._say(
            logging.ERROR,
            "the reply to call %s has %d bytes, which is more than the server takes; %s",
            reply.request_id,
            len(reply.payload),
            "it is dropped" if smaller is None else "its run fails",
        )
        return smaller

    def _report(self, error: StepwellError) -> None:
        """Log a failure to connect, once until a connection succeeds."""
        text = str(error)
        level = logging.DEBUG if text in self._troubles else logging.WARNING
        self._troubles.add(text)
        _log.log(level, "%s; trying again", text)

    # --- facts ---

    def _on_fact(self, link: Link, fact: Fact) -> None:
        match fact:
            case facts.CallCame():
                self._on_call(link, fact.request)
            case facts.ReplyAcked():
                self._calls.reply_acked(fact.request_id, self._now_ms())
                self._progressed()
            case facts.LeaseAnswered():
                if self._calls.lease_answered(fact.request_id, fact.lease_id):
                    self._say(
                        logging.WARNING,
                        "the server does not want call %s any more: its run was cancelled, or "
                        "another worker has it; its result is dropped",
                        fact.request_id,
                    )
                    assert self._executor is not None, "set by run()"
                    self._executor.cancel(fact.request_id)
            case facts.Ready():
                if not link.ready.done():  # the attempt was not given up meanwhile
                    # Soon, since it is logged; but before that which waits for `ready` goes on.
                    self._soon(self._state.move, ConnectionState.ACTIVE)
                    link.ready.set_result(None)
                    self._adopt(link, fact.extend_lease_ms)
            case facts.SyncFailed():
                link.refuse(_sync_error(fact))
            case facts.Draining():
                link.is_draining = True
                link.refuse(ServerUnreachable("the gateway is closing"))
                self._changed.set()
            case facts.Over():
                link.refuse(ServerUnreachable(fact.reason))
                self._forget(link)
                self._say(logging.DEBUG, "connection %s: %s", link.connection_id, fact.reason)
            case _:
                assert_never(fact)

    def _on_call(self, link: Link, request: GatewayExecutorRequestData) -> None:
        executor = self._executor
        assert executor is not None, "set by run()"
        if self._closing or not executor.knows_app(request.app_name):
            return  # not acknowledged, so another worker gets it
        arrival = self._calls.came(request, self._now_ms())
        if arrival is Arrival.REFUSED:
            return
        link.session.ack(request.request_id, partial(self._calls.ack_of, request))
        if arrival is Arrival.RUN:
            executor.start(request)
            self._arm()
        elif arrival is Arrival.DONE:
            reply = self._calls.reply_of(request.request_id)
            assert reply is not None, "a call that is done has a reply"
            link.session.reply(request.request_id, reply)

    def _on_reply_left(self, link: Link, request_id: str) -> None:
        if link is self._current:
            self._calls.reply_left(request_id, self._now_ms())
            self._arm()

    def _say(self, level: int, text: str, *args: object) -> None:
        """Log something that was learnt with the lock held.

        Soon and without it: a handler of the program's may wait for a thread that waits for the
        lock.
        """
        self._soon(_log.log, level, text, *args)

    def _soon(self, callback: Callable[..., None], *args: object) -> None:
        """Have the protocol's loop call something, without the lock."""
        assert self._loop is not None, "set by run()"
        _tell(self._loop, callback, *args)

    # --- replies without a socket ---

    async def _flush_when_cut_off(self) -> None:
        """While there is no socket, replies leave over HTTP after a moment."""
        timing = self._plan.timing
        while True:
            await self._until(lambda: self._current is None and self._calls.waiting_count > 0)
            await self._until(lambda: self._current is not None, timeout_ms=timing.flush_after_ms)
            if self._current is None and not await self._flush():
                await self._until(
                    lambda: self._current is not None, timeout_ms=timing.flush_again_ms
                )

    async def _flush(self, deadline_ms: int | None = None) -> bool:
        """Post the replies that wait, oldest first, until one fails.

        Returns:
            Whether all of them are stored.
        """
        try:
            async with asyncio.timeout(None if deadline_ms is None else deadline_ms / 1000):
                for reply in self._waiting():
                    try:
                        await self._http.flush(reply.payload)
                    except ReplyTooLarge:
                        smaller = self._shrink(reply)
                        if smaller is None:
                            continue
                        await self._http.flush(smaller.payload)
                    with self._lock:
                        self._calls.reply_acked(reply.request_id)
        except (AuthError, ServerUnreachable, TimeoutError) as error:
            _log.debug("replies could not be flushed: %s", error)
            return False
        finally:
            self._changed.set()
        return True

    def _waiting(self) -> list[Reply]:
        with self._lock:
            return self._calls.waiting()

    def _progressed(self) -> None:
        """Calls ended or replies arrived: of interest only at the end and without a socket.

        Not always, because whoever waits for a change would be woken twice a call.
        """
        if self._closing or self._current is None:
            assert self._loop is not None, "set by run()"
            _tell(self._loop, self._changed.set)

    # --- time ---

    def _now_ms(self) -> int:
        assert self._loop is not None, "set by run()"
        return int(self._loop.time() * 1000)

    def _arm(self) -> None:
        """Wake when a lease is to be extended or a reply is to be sent again."""
        due_ms = self._calls.next_wakeup_ms()
        if due_ms is None:
            return
        assert self._loop is not None, "set by run()"
        when = due_ms / 1000
        timer = self._timer
        if timer is not None and self._timer_s <= when:
            return
        if threading.get_ident() != self._thread_id:
            _tell(self._loop, self._armed)
            return
        if timer is not None:
            timer.cancel()
        self._timer, self._timer_s = self._loop.call_at(when, self._wake), when

    def _armed(self) -> None:
        with self._lock:
            self._arm()

    def _wake(self) -> None:
        with self._lock:
            self._timer = None
            now_ms = self._now_ms() + 1
            extensions = self._calls.due_extensions(now_ms)
            replies = self._calls.due_replies(now_ms)
            if self._current is not None:
                for extension in extensions:
                    self._current.session.extend_lease(extension)
                for reply in replies:
                    self._current.session.reply(reply.request_id, reply.payload)
                self._current.kick()
            self._arm()

    async def _until(self, true: Callable[[], bool], timeout_ms: int | None = None) -> None:
        """Wait until something is true, or for so long."""
        try:
            async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1000):
                while not true():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return


def _is_gateway_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, a port or a host that cannot be one
        return False


def _sync_error(failure: facts.SyncFailed) -> StepwellError:
    text = f"the server refused the functions of this worker: {failure.message or failure.code}"
    if failure.code == INTERNAL_ERROR:
        return ServerUnreachable(text)
    return ConfigError(text, code=failure.code or "registration_refused")


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: object) -> None:
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:  # the worker has ended, and nobody waits for this
        return
