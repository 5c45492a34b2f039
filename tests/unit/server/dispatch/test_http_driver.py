"""What the driver does with calls when the store, the app or the lease lets it down."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.engine.catalog import Catalog
from stepwell.errors import OutboundError, StoreError
from stepwell.server.app_book import AppBook
from stepwell.server.dispatch import http_driver
from stepwell.server.dispatch.http_call import HttpCall
from stepwell.server.dispatch.http_driver import HttpDriver
from stepwell.server.outbound import OutboundResponse
from stepwell.wire.functions import parse_register
from stepwell.wire.ids import RequestId, parse_ulid
from stepwell.wire.json import encode
from stepwell.wire.outcomes import Raised, Returned
from tests.e2e.http_dispatch.raw_app import registration
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stepwell.server.worker_port import AttachedApp
    from stepwell.wire.outcomes import Outcome

REQUEST = "01K7T0C0000000000000000001"
NEXT_LEASE = "01K7T0C0000000000000000009"


class Desk:
    """The runtime, as far as the driver knows it."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.attached: dict[str, AttachedApp] = {}
        self.acks: list[str] = []
        self.outcomes: list[Outcome] = []
        self.failures = 0
        self.extended: list[bytes] = []
        self.lost = False
        self.reported = asyncio.Event()

    def now_ms(self) -> int:
        return 1_760_000_000_000

    def attach(self, worker: AttachedApp) -> None:
        self.attached[worker.connection_id] = worker

    def detach(self, connection_id: str) -> None:
        self.attached.pop(connection_id, None)

    def acked(self, *, connection_id: str, request_id: str) -> None:
        assert connection_id in self.attached
        self.acks.append(request_id)

    def extend_lease(self, *, connection_id: str, request_id: str, lease_id: bytes) -> str | None:
        assert request_id == REQUEST
        self.extended.append(lease_id)
        return None if self.lost else NEXT_LEASE

    async def report(self, *, request_id: str, outcome: Outcome) -> bool:
        assert request_id == REQUEST
        if self.failures:
            self.failures -= 1
            raise StoreError("not now")
        self.outcomes.append(outcome)
        self.reported.set()
        return True

    def sync(self, url: str, app: str = "shop", **fields: Any) -> None:
        body = encode(registration(url, app=app) | fields)
        self.catalog.register(parse_register(body), 1)


class Client:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.answer: OutboundResponse | OutboundError | None = OutboundResponse(
            status=200, headers={"x-inngest-sdk": "py:v1"}, body=b"1", url="http://a/"
        )
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.bodies: list[bytes] = []

    async def request(self, _method: str, _url: str, *, body: bytes, **_more: Any) -> Any:
        self.bodies.append(body)
        self.asked.set()
        try:
            if self.answer is None:
                await asyncio.Event().wait()
        finally:
            self.left.set()
        if isinstance(self.answer, OutboundError):
            raise self.answer
        return self.answer


class Stage:
    def __init__(self, driver: HttpDriver, desk: Desk, client: Client, book: AppBook) -> None:
        self.driver = driver
        self.desk = desk
        self.client = client
        self.book = book

    def post(self, body: bytes = b"{}") -> None:
        (worker,) = self.desk.attached.values()
        worker.port.post_call(
            lambda: HttpCall(
                request_id=REQUEST, lease_id=b"\0" * 16, url="http://a/", headers={}, body=body
            )
        )


@contextlib.asynccontextmanager
async def stage(*, keys: tuple[str, ...] = (), lease_ms: int = 60) -> AsyncIterator[Stage]:
    desk, client, book = Desk(), Client(), AppBook()
    desk.sync("http://a/x")
    driver = HttpDriver(
        desk=desk,
        client=client,  # type: ignore[arg-type]  # it has the one method
        book=book,
        signing_keys=keys,
        calls_max=7,
        timeout_s=5,
        lease_ms=lease_ms,
    )
    async with driver:
        yield Stage(driver, desk, client, book)


@on_loop
async def test_each_host_of_an_app_is_a_worker() -> None:
    async with stage() as s:
        (worker,) = s.desk.attached.values()
        assert (worker.connection_id, worker.instance_id) == ("http://a:80/shop", "http://a:80")
        assert (worker.limit, worker.functions) == (7, frozenset({("shop", "shop-ship")}))
        s.desk.sync("http://a/y", app="other")
        s.driver.refresh()
        assert {each.instance_id for each in s.desk.attached.values()} == {"http://a:80"}
        s.desk.sync("http://b/x")
        s.driver.refresh()
        assert sorted(s.desk.attached) == ["http://a:80/other", "http://b:80/shop"]
        s.driver.begin_drain()
        s.driver.refresh()
        assert s.desk.attached == {}


async def unreachable(s: Stage) -> None:
    """A call finds no app."""
    s.client.answer = OutboundError("nobody is there", code="outbound_unreachable")
    s.post()
    await s.desk.reported.wait()
    await s.driver.drained(1)


@on_loop
async def test_an_app_that_is_gone_rests_while_workers_have_its_function_too() -> None:
    async with stage() as s:
        s.book.on_return(s.driver.refresh)
        connected = registration("ws://connect") | {"deployType": "connect"}
        s.desk.catalog.register(parse_register(encode(connected)), 1)
        s.driver.refresh()
        before = dict(s.desk.attached)
        assert list(before) == ["http://a:80/shop"]
        await unreachable(s)
        assert s.desk.attached == {}
        s.book.call_answered("shop")
        assert list(s.desk.attached) == list(before)


@on_loop
async def test_an_app_that_is_gone_and_has_no_workers_is_called_all_the_same() -> None:
    async with stage() as s:
        await unreachable(s)
        assert list(s.desk.attached) == ["http://a:80/shop"]


@on_loop
async def test_an_answer_is_reported_until_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_driver, "REPORT_FIRST_S", 0.001)
    async with stage() as s:
        s.desk.failures = 3
        s.post()
        assert s.desk.acks == [REQUEST]
        await s.desk.reported.wait()
        assert s.desk.outcomes == [Returned(output=b"1")]
        assert len(s.client.bodies) == 1, "the app is asked once"
        await s.driver.drained(1)


@on_loop
async def test_a_call_whose_lease_is_lost_is_hung_up_on() -> None:
    async with stage() as s:
        s.client.answer = None
        s.post()
        await s.client.asked.wait()
        async with asyncio.timeout(5):
            while len(s.desk.extended) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert s.desk.extended[0] == b"\0" * 16
        assert s.desk.extended[1] == parse_ulid(NEXT_LEASE), "each extension names the last lease"
        s.desk.lost = True
        await s.client.left.wait()
        await s.driver.drained(1)
        assert s.desk.outcomes == []


@on_loop
async def test_a_call_that_is_withdrawn_is_hung_up_on() -> None:
    async with stage() as s:
        s.client.answer = None
        s.post()
        await s.client.asked.wait()
        (worker,) = s.desk.attached.values()
        worker.port.withdraw(RequestId(b"\1" * 16))  # none of ours
        worker.port.withdraw(RequestId(parse_ulid(REQUEST)))
        await s.client.left.wait()
        await s.driver.drained(1)
        assert s.desk.outcomes == []


@on_loop
async def test_a_call_that_is_not_wanted_any_more_is_not_made() -> None:
    async with stage() as s:
        (worker,) = s.desk.attached.values()
        worker.port.post_call(lambda: None)
        await s.driver.drained(1)
        assert (s.client.bodies, s.desk.acks) == ([], [])


@on_loop
async def test_a_call_that_cannot_be_signed_fails_its_run() -> None:
    async with stage(keys=("abcd",)) as s:
        s.post(b'{"n":1' + b"0" * 400 + b"}")
        await s.desk.reported.wait()
        (outcome,) = s.desk.outcomes
        assert isinstance(outcome, Raised)
        assert outcome.fatal
        assert s.client.bodies == []


@pytest.mark.parametrize("size", [10, 200_000])
@on_loop
async def test_a_signed_body_is_canonical_whatever_its_size(size: int) -> None:
    async with stage(keys=("abcd",)) as s:
        s.post(b'{"b":1.0, "a":"' + b"x" * size + b'"}')
        await s.desk.reported.wait()
        assert s.client.bodies == [b'{"a":"' + b"x" * size + b'","b":1}']


@on_loop
async def test_trouble_with_an_app_is_in_the_book() -> None:
    async with stage() as s:
        s.client.answer = OutboundError("http://a/ cannot be reached: connection refused")
        s.post()
        await s.desk.reported.wait()
        trouble = s.book.absent("shop")
        assert trouble is not None
        assert trouble.text.endswith("connection refused")
        (outcome,) = s.desk.outcomes
        assert isinstance(outcome, Raised)
        assert b"http_unreachable" in outcome.error


@on_loop
async def test_a_large_answer_is_no_trouble_with_the_app() -> None:
    async with stage() as s:
        s.client.answer = OutboundError("too large", code="outbound_too_large")
        s.post()
        await s.desk.reported.wait()
        assert s.book.absent("shop") is None
