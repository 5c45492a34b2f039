"""Calls functions that are served over HTTP.

To the runtime, each host of an app is one more worker: it takes calls, holds leases on them and
reports what came of them. It acknowledges a call at once, and extends its lease for as long as the
app works on it. What an app answered is reported until it is stored.

When the server stops, calls that are out are given a while to end; those that have not are left as
they are, and are made again after the next start: nobody could come back with their answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol

from stepwell.engine.leases import HTTP_INSTANCES
from stepwell.errors import OutboundError, StepwellError, WireError
from stepwell.server.worker_port import AttachedApp
from stepwell.wire.app_urls import host_of
from stepwell.wire.http_calls import (
    ANSWER_BYTES_MAX,
    HANDLED,
    Answer,
    outcome_from_http,
    outcome_of_defect,
    outcome_of_no_answer,
    outcome_of_unsendable,
)
from stepwell.wire.ids import parse_ulid, ulid_text
from stepwell.wire.json import canonical
from stepwell.wire.signing import HEADER, sign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.engine.catalog import Catalog, FunctionEntry
    from stepwell.server.app_book import AppBook
    from stepwell.server.dispatch.http_call import HttpCall
    from stepwell.server.outbound import OutboundClient, OutboundResponse
    from stepwell.server.worker_port import MakeHttpCall
    from stepwell.wire.ids import RequestId
    from stepwell.wire.outcomes import Outcome

EXTEND_S = 5.0
"""Between extensions of the leases of calls that are out; less if leases are short."""

SIGNED_ASIDE_BYTES = 128 * 2**10
"""A larger body is brought into its canonical form on another thread."""

REPORT_FIRST_S = 0.1
REPORT_MAX_S = 5.0

_log = logging.getLogger(__name__)


class Desk(Protocol):
    """The runtime, as this driver needs it."""

    @property
    def catalog(self) -> Catalog: ...
    def now_ms(self) -> int: ...
    def attach(self, worker: AttachedApp) -> None: ...
    def detach(self, connection_id: str) -> None: ...
    def acked(self, *, connection_id: str, request_id: str) -> None: ...
    def extend_lease(
        self, *, connection_id: str, request_id: str, lease_id: bytes
    ) -> str | None: ...
    async def report(self, *, request_id: str, outcome: Outcome) -> bool: ...


class HttpDriver:
    """All apps that are served; an async context manager on the runtime's loop.

    Args:
        signing_keys: Sign calls, the current one first; none in development. An app that refuses
            a signature may have the key from before.
        calls_max: At a time, to one host.
        timeout_s: For one call, from the connection to the end of the answer.
    """

    def __init__(
        self,
        *,
        desk: Desk,
        client: OutboundClient,
        book: AppBook,
        signing_keys: Sequence[str],
        calls_max: int,
        timeout_s: float,
        lease_ms: int,
    ) -> None:
        self.desk = desk
        self.book = book
        self._client = client
        self._signing_keys = tuple(signing_keys)
        self._calls_max = calls_max
        self._timeout_s = timeout_s
        self._extend_s = min(EXTEND_S, lease_ms / 3_000)
        self._attached: dict[str, AttachedApp] = {}
        self._out: dict[str, _Out] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._tasks = asyncio.TaskGroup()
        self._leaving = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> HttpDriver:
        await self._tasks.__aenter__()
        self.refresh()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.begin_drain()
        for out in list(self._out.values()):
            out.task.cancel()
        if self._keeper is not None:
            self._keeper.cancel()
        await self._tasks.__aexit__(None, None, None)

    def refresh(self) -> None:
        """The catalog has changed: take calls of the functions that are served now."""
        if self._leaving:
            return
        wanted = self._wanted()
        for connection_id in [name for name in self._attached if name not in wanted]:
            del self._attached[connection_id]
            self.desk.detach(connection_id)
        for connection_id, functions in wanted.items():
            before = self._attached.get(connection_id)
            if before is not None and before.functions == functions:
                continue
            host, _, app_name = connection_id.removeprefix(HTTP_INSTANCES).partition("/")
            worker = AttachedApp(
                connection_id=connection_id,
                instance_id=HTTP_INSTANCES + host,
                limit=self._calls_max,
                functions=functions,
                version_ms=0,
                port=_App(self, connection_id, app_name),
            )
            self._attached[connection_id] = worker
            self.desk.attach(worker)

    def begin_drain(self) -> None:
        """Take no more calls; those that are out go on."""
        self._leaving = True
        for connection_id in self._attached:
            self.desk.detach(connection_id)
        self._attached.clear()

    async def drained(self, timeout_s: float) -> None:
        """Wait until no call is out, or so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            _log.warning(
                "apps have not answered; their calls are made again after the next start",
                extra={"calls": len(self._out)},
            )

    def _wanted(self) -> dict[str, frozenset[tuple[str, str]]]:
        """Functions by connection. Archived ones too: runs that began end."""
        found: dict[str, set[tuple[str, str]]] = {}
        for entry in self.desk.catalog.all_functions:
            url = entry.http_url
            if url is not None and not self._is_to_rest(entry):
                connection_id = f"{HTTP_INSTANCES}{host_of(url)}/{entry.app_name}"
                found.setdefault(connection_id, set()).add((entry.app_name, entry.slug))
        return {name: frozenset(functions) for name, functions in found.items()}

    def _is_to_rest(self, entry: FunctionEntry) -> bool:
        """Whether no calls are made for now, since no app was there for the last one and workers
        have the function too: they come back, and a call that finds nobody uses up an attempt."""
        listed = self.desk.catalog.transports.lists(entry.app_name, entry.slug, by="connect")
        return listed and self.book.absent(entry.app_name) is not None

    # --- calls ---

    def post(self, app: _App, make: MakeHttpCall) -> None:
        """Make a call in a task of its own; the runtime gives out no more than `calls_max`."""
        call = make()
        if call is None:
            return
        self.desk.acked(connection_id=app.connection_id, request_id=call.request_id)
        task = self._tasks.create_task(self._carry(app, call), name=f"call-{call.request_id}")
        self._out[call.request_id] = _Out(app.connection_id, call.lease_id, task)
        self._idle.clear()
        if self._keeper is None:
            self._keeper = self._tasks.create_task(self._keep_leases(), name="http-leases")

    def withdraw(self, request_id: RequestId) -> None:
        """Nobody wants this call's outcome any more: hang up."""
        out = self._out.get(ulid_text(request_id))
        if out is not None:
            out.task.cancel()

    async def _carry(self, app: _App, call: HttpCall) -> None:
        """Make a call and report what came of it. Never raises."""
        try:
            try:
                outcome = await self._outcome(app, call)
            except Exception:
                # A defect of ours, which must not make the same call for ever.
                _log.exception("cannot make a call", extra={"request": call.request_id})
                outcome = outcome_of_defect()
            await self._deliver(call.request_id, outcome)
        except Exception:
            # Its lease ends in time, and it is given out again. Other calls must not suffer.
            _log.exception("cannot carry a call", extra={"request": call.request_id})
        finally:
            self._out.pop(call.request_id, None)
            if not self._out:
                self._idle.set()

    async def _outcome(self, app: _App, call: HttpCall) -> Outcome:
        try:
            body = await self._body(call)
        except WireError as error:
            return outcome_of_unsendable(error)
        try:
            response = await self._post(app, call, body)
        except OutboundError as error:
            if error.code in _ABSENT:
                self.book.call_failed(app.name, error.message, self.desk.now_ms())
                self.refresh()
            return outcome_of_no_answer(error)
        self.book.call_answered(app.name)
        answer = Answer(status=response.status, headers=response.headers, body=response.body)
        return outcome_from_http(answer, now_ms=self.desk.now_ms())

    async def _body(self, call: HttpCall) -> bytes:
        """The body to send: with a key, it is the form that is signed.

        Raises:
            WireError: The body has no such form.
        """
        if not self._signing_keys:
            return call.body
        if len(call.body) > SIGNED_ASIDE_BYTES:
            return await asyncio.to_thread(canonical, call.body)
        return canonical(call.body)

    async def _post(self, app: _App, call: HttpCall, body: bytes) -> OutboundResponse:
        """Make the request; with the other key once more, if its signature is refused.

        An SDK looks at the signature before anything else, so nothing has run by then.

        Raises:
            OutboundError: No answer.
        """
        response: OutboundResponse | None = None
        keys: Sequence[str | None] = self._signing_keys or (None,)
        for number in sorted(range(len(keys)), key=app.key_number.__ne__):
            headers = dict(call.headers)
            if (key := keys[number]) is not None:
                headers[HEADER] = sign(body, key=key, unix_s=int(time.time()))
            response = await self._client.request(
                "POST",
                call.url,
                headers=headers,
                body=body,
                timeout_s=self._timeout_s,
                bytes_max=ANSWER_BYTES_MAX,
            )
            if response.status != 401 or HANDLED not in response.headers:
                app.key_number = number
                break
        assert response is not None, "there is a key, or none"
        return response

    async def _deliver(self, request_id: str, outcome: Outcome) -> None:
        """Have an outcome stored, however long the store cannot."""
        pause_s = REPORT_FIRST_S
        while True:
            try:
                if not await self.desk.report(request_id=request_id, outcome=outcome):
                    extra = {"request": request_id}
                    _log.debug("a late answer is refused: its call is not out", extra=extra)
                return
            except StepwellError as error:
                if error.code == "server_stopping":
                    return
                extra = {"request": request_id, "code": error.code}
                _log.warning("an answer is not stored: %s", error, extra=extra)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, REPORT_MAX_S)

    async def _keep_leases(self) -> None:
        """Extend the leases of all calls that are out; hang up on those that lost theirs."""
        while self._out:
            await asyncio.sleep(self._extend_s)
            try:
                self._extend_all()
            except Exception:
                _log.exception("cannot extend the leases of calls")
        self._keeper = None

    def _extend_all(self) -> None:
        for request_id, out in list(self._out.items()):
            lease_id = self.desk.extend_lease(
                connection_id=out.connection_id, request_id=request_id, lease_id=out.lease_id
            )
            if lease_id is None:
                out.task.cancel()
            else:
                out.lease_id = parse_ulid(lease_id)


class _App:
    """The way to one app on one host."""

    def __init__(self, driver: HttpDriver, connection_id: str, name: str) -> None:
        self._driver = driver
        self.connection_id = connection_id
        self.name = name
        self.key_number = 0  # of the key that it took last

    def post_call(self, make: MakeHttpCall) -> None:
        self._driver.post(self, make)

    def withdraw(self, request_id: RequestId) -> None:
        self._driver.withdraw(request_id)


class _Out:
    """A call that is out."""

    __slots__ = ("connection_id", "lease_id", "task")

    def __init__(self, connection_id: str, lease_id: bytes, task: asyncio.Task[None]) -> None:
        self.connection_id = connection_id
        self.lease_id = lease_id
        self.task = task


_ABSENT = frozenset({"outbound_unreachable", "outbound_timeout", "outbound_address_refused",
                     "outbound_url_invalid", "outbound_redirect_refused"})  # fmt: skip
"""No app has answered, or none may be asked."""
