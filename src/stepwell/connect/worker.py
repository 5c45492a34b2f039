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
from functools import partial
from typing import TYPE_CHECKING, assert_never

from stepwell.checkpointer import Answer
from stepwell.connect import session as facts
from stepwell.connect.attempts import Attempts
from stepwell.connect.blocked import LoopWatch
from stepwell.connect.calls import Arrival, Calls, Reply, Saturation
from stepwell.connect.checkpoints import Checkpoints
from stepwell.connect.dial import PlainSocket, dial
from stepwell.connect.direct_link import DirectLink
from stepwell.connect.health import Vitals
from stepwell.connect.http import ConnectHttp, ReplyTooLarge, ServerUnreachable
from stepwell.connect.link import TOO_BIG
from stepwell.connect.loop_link import LoopLink
from stepwell.connect.opening import (
    TOO_MANY_APPS,
    endpoint_of,
    hello_of,
    sync_error,
    too_many_apps,
)
from stepwell.connect.session import Fact, Session
from stepwell.connect.state import ConnectionState, StateCell
from stepwell.errors import AuthError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepwell.connect.checkpoints import Done
    from stepwell.connect.dial import Opened
    from stepwell.connect.executor import Executor
    from stepwell.connect.link import Link
    from stepwell.connect.plan import Plan
    from stepwell.outcome import Outcome
    from stepwell.wire.connect import GatewayExecutorRequestData, StartResponse

GATEWAY_CLOSING = "connect_gateway_closing"

_log = logging.getLogger("stepwell.connect")


class Worker:
    """See above. `run` is its whole life."""

    def __init__(
        self,
        plan: Plan,
        *,
        http: ConnectHttp,
        state: StateCell,
    ) -> None:
        self._plan = plan
        self._http = http
        self._state = state
        self._attempts = Attempts(plan.reconnect)
        self._calls = Calls()
        self._checkpoints = Checkpoints()
        self._watch: LoopWatch | None = None
        self._executor: Executor | None = None
        self._current: Link | None = None
        self._connection_id: str | None = None
        self._was_active = False
        self._said_full = False
        self._fatal: Exception | None = None
        self._ended = False  # nothing is sent any more
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
    def saturation(self) -> Saturation | None:
        """Why no call is taken although the connection is there; None if calls are."""
        return self._calls.saturation

    def vitals(self) -> Vitals:
        """How the worker is, for its health."""
        calls, watch = self._calls, self._watch
        return Vitals(
            running_count=calls.running_count,
            waiting_count=calls.waiting_count,
            waiting_bytes=calls.waiting_bytes,
            saturation=calls.saturation,
            blocked_ms=0 if watch is None else watch.blocked_ms,
        )

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

    @property
    def is_closing(self) -> bool:
        """Whether the worker takes no more calls and ends with those that it has."""
        return self._close_requests > 0

    def checkpoint(
        self, request_id: str, run_id: str, number: int, steps: bytes, done: Done
    ) -> bool:
        """Report steps of a call that goes on; `done` is called once, if the call lasts so long.

        Returns:
            False if the server takes none on the socket.
        """
        with self._lock:
            link = self._current
            if link is not None and not link.session.takes_checkpoints:
                return False
            if self._ended:
                done(Answer.FAILED)
                return True
            report = self._checkpoints.add(request_id, run_id, number, steps, done)
            if link is not None:
                link.session.checkpoint(request_id, report.payload)
                link.kick()
                if self._calls.running_count <= 1:
                    link.flush()  # nobody else has anything to send with it
            elif self._closing:
                assert self._loop is not None, "set by run()"
                _tell(self._loop, self._changed.set)
        return True

    def finished(self, request_id: str, outcome: Outcome | None) -> None:
        """A call has ended; without an outcome if it was cancelled."""
        with self._lock:
            self._checkpoints.dropped(request_id)
            calls, link = self._calls, self._current
            if outcome is None:
                calls.dropped(request_id)
            else:
                payload = calls.finished(request_id, outcome)
                if payload is not None and link is not None:
                    link.session.reply(request_id, payload)
                    link.kick()
                self._look_for_room()
            self._progressed()

    # --- the life ---

    async def run(self, executor: Executor) -> None:
        """Connect and stay connected until told to close.

        Raises:
            AuthError: No key was accepted.
            ConfigError: The server refused the apps, or the gateway's address is unusable.
            StepwellError: `reconnect_given_up`.
            Exception: What the hook of the reconnection policy raised.
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
                releaser = tasks.create_task(self._release_when_cut_off(), name="stepwell-releaser")
                blocked_after_ms = self._plan.timing.blocked_after_ms
                self._watch = LoopWatch(executor, blocked_after_ms=blocked_after_ms)
                watcher = tasks.create_task(self._watch.run(), name="stepwell-watcher")
                await self._until(lambda: self._closing or self._fatal is not None)
                if self._fatal is None:
                    await self._shut_down()
                if self._fatal is not None:  # also if it came during the shutdown
                    await self._leave_what_waits()
                keeper.cancel()
                flusher.cancel()
                releaser.cancel()
                watcher.cancel()
                with self._lock:
                    if self._current is not None:
                        self._current.close("WORKER_SHUTDOWN")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            with self._lock:  # sync functions may still run
                self._ended = True
                self._checkpoints.give_up()
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
        await self._until(
            lambda: calls.running_count == 0 or self._hurrying or self._fatal is not None
        )
        if self._fatal is not None:
            return
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

    async def _leave_what_waits(self) -> None:
        """No other attempt to connect is made, so no lease can be kept: leave what is done."""
        assert self._executor is not None, "set by run()"
        self._executor.cancel_all()
        if self._calls.waiting_count:
            await self._flush(deadline_ms=self._plan.timing.hurry_ms)

    # --- connecting ---

    async def _keep_connected(self) -> None:
        leaving_group: str | None = None
        at_once = True
        try:
            while True:
                link = await self._connect(leaving_group, at_once=at_once)
                connected_ms = self._now_ms()
                await self._left(link)
                self._attempts.ended(held_ms=self._now_ms() - connected_ms)
                self._state.move(ConnectionState.RECONNECTING)
                leaving_group = link.group
                at_once = link.is_draining or link.close_reason == GATEWAY_CLOSING
        except Exception as error:  # also of the program's own: the hook of its policy
            self._fatal = error
            self._changed.set()

    async def _left(self, link: Link) -> None:
        await self._until(lambda: link.is_leaving)

    async def _connect(self, leaving_group: str | None, *, at_once: bool) -> Link:
        """Try until a handshake succeeds.

        Raises:
            AuthError, ConfigError: Trying again cannot help, and never has.
            Exception: The reconnection policy wants no other attempt.
        """
        exclude = [] if leaving_group is None else [leaving_group]
        while True:
            await self._attempts.pause(at_once=at_once)
            at_once = False
            try:
                return await self._attempt(exclude)
            except ServerUnreachable as error:
                self._attempts.failed(error)
            except (AuthError, ConfigError) as error:
                # A worker that has been active goes on trying: keys and servers change, and the
                # old key may be back in a moment. One that has never been is told at once.
                if not self._was_active:
                    raise
                self._attempts.failed(error)

    async def _attempt(self, exclude: Sequence[str]) -> Link:
        start = await self._http.start(exclude)
        self._connection_id = start.connection_id
        socket = await dial(endpoint_of(self._plan, start))
        session = Session(hello_of(self._plan, start), self._now_ms())
        link = self._link(socket, session, start)
        assert self._tasks is not None, "set by run()"
        self._tasks.create_task(self._serve(link), name=f"stepwell-link-{link.connection_id}")
        try:
            await link.ready
        except ServerUnreachable as error:
            if link.close_reason == TOO_MANY_APPS:
                raise too_many_apps(self._plan) from error
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

    def _adopt(self, link: Link, extend_lease_ms: int) -> None:
        """Make this the current socket, and tell it everything that may have been missed.

        In the same turn as the end of the handshake, so that no call and no reply falls between.
        """
        old, self._current = self._current, link
        session = link.session
        for reply in self._calls.waiting():
            session.reply(reply.request_id, reply.payload)
        if session.takes_checkpoints:
            for report in self._checkpoints.waiting():
                session.checkpoint(report.request_id, report.payload)
        else:
            self._checkpoints.give_up()
        for extension in self._calls.connected(extend_lease_ms, self._now_ms()):
            session.extend_lease(extension)
        if self._closing:
            session.pause()
        if old is not None:
            old.close("GATEWAY_DRAINING")
        self._was_active = True
        self._attempts.succeeded()
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
            self._look_for_room()
        self._say(
            logging.ERROR,
            "the reply to call %s has %d bytes, which is more than the server takes; %s",
            reply.request_id,
            len(reply.payload),
            "it is dropped" if smaller is None else "its run fails",
        )
        return smaller

    def _look_for_room(self) -> None:
        """Say so when replies begin to keep the worker from taking calls, and when they cease to.

        With the lock held.
        """
        is_full = self._calls.saturation is Saturation.REPLIES
        if is_full is self._said_full:
            return
        self._said_full = is_full
        if is_full:
            self._say(
                logging.WARNING,
                "%d results with %d bytes wait for the server to acknowledge them; no calls are "
                "taken until there is room",
                self._calls.waiting_count,
                self._calls.waiting_bytes,
            )
        else:
            self._say(logging.INFO, "results have left; calls are taken again")

    # --- facts ---

    def _on_fact(self, link: Link, fact: Fact) -> None:
        match fact:
            case facts.CallCame():
                self._on_call(link, fact.request)
            case facts.ReplyAcked():
                self._calls.reply_acked(fact.request_id, self._now_ms())
                self._look_for_room()
                self._progressed()
            case facts.CheckpointAnswered():
                self._checkpoints.answered(fact.request_id, fact.number, fact.refusal)
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
                link.refuse(sync_error(fact))
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

    async def _release_when_cut_off(self) -> None:
        """While the worker ends and has no socket, calls end too, instead of waiting for one."""
        timing, reports = self._plan.timing, self._checkpoints
        while True:
            await self._until(
                lambda: self._closing and self._current is None and reports.waiting_count > 0
            )
            await self._until(lambda: self._current is not None, timeout_ms=timing.flush_after_ms)
            with self._lock:
                if self._current is None:
                    reports.give_up()

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
                        self._look_for_room()
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


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: object) -> None:
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:  # the worker has ended, and nobody waits for this
        return
