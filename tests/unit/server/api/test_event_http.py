"""Events take a short way through the protocol, and nobody can tell but by the clock."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.errors import Retryable
from stepwell.server.api.edge import Edge
from stepwell.server.api.events import EventIntake
from tests.unit.server.api.bench import open_api
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.unit.server.api.bench import Api

END = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BODY = b'{"name":"a","data":{"x":1}}'
KEY = "a-key-of-some-length"
CLOSED: dict[str, Any] = {
    "mode": "start",
    "event_keys": (KEY,),
    "signing_key": "signkey-prod-" + "ab" * 32,
}


def post(
    *headers: bytes, body: bytes = BODY, target: bytes = b"/e/x", http: bytes = b"1.1"
) -> bytes:
    """A request whose headers do not tell how long its body is, unless there is one."""
    lines = [b"POST %b HTTP/%b" % (target, http), b"Host: a", *headers]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


SIMPLE = {
    "one event": post(),
    "kept alive": post(b"Connection: keep-alive"),
    "an array": post(body=b'[{"name":"a"},{"name":"b"}]'),
    "a seed": post(b"X-Inngest-Event-Id-Seed: 1766000000000,AAAAAAAAAAAAAA=="),
    "a header twice": post(b"X-Inngest-Event-Id-Seed: x", b"x-inngest-event-id-seed: y"),
}

SPECIAL = {
    "no length": post(body=b""),
    "no event": post(body=b"nope"),
    "a reserved name": post(body=b'{"name":"inngest/x"}'),
    "too large an event": post(body=b'{"name":"a","data":{"x":"%b"}}' % (b"y" * 2_000)),
    "too large a body": post(body=b"[" + b",".join([BODY] * 200) + b"]"),
    "a query": post(target=b"/e/x?a=b"),
    "an encoded key": post(target=b"/e/%78"),
    "no key": post(target=b"/e/"),
    "two keys": post(target=b"/e/x/y"),
    "a whole URL": post(target=b"http://a/e/x"),
    "a page": post(b"Origin: https://a.example"),
    "a preflight": b"OPTIONS /e/x HTTP/1.1\r\nHost: a\r\nOrigin: b\r\n"
    b"Access-Control-Request-Method: POST\r\n\r\n",
    "another method": b"GET /e/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "chunks": b"POST /e/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'8\r\n{"name":\r\n4\r\n"a"}\r\n0\r\n\r\n',
    "an expectation": post(b"Expect: 100-continue"),
    "an upgrade": post(b"Connection: upgrade", b"Upgrade: h2c"),
    "the last request": post(b"Connection: close"),
    "an old version": post(http=b"1.0"),
    "an old version kept alive": post(b"Connection: keep-alive", http=b"1.0"),
    "no HTTP": b"POST /e/x HTTP/1.1\r\nContent-Length: x\r\n\r\n",
}


@pytest.fixture
def shorts(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that were taken on the short way."""
    taken: list[bytes] = []
    submit = EventIntake.submit

    def noted(self: EventIntake, body: bytes, headers: Any, done: Any) -> None:
        submit(self, body, headers, done)
        taken.append(body)

    monkeypatch.setattr(EventIntake, "submit", noted)
    return taken


@pytest.fixture
def longs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that the application was asked for."""
    asked: list[str] = []
    call = Edge.__call__

    async def noted(self: Edge, scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await call(self, scope, receive, send)

    monkeypatch.setattr(Edge, "__call__", noted)
    return asked


@pytest.mark.parametrize("name", SIMPLE)
def test_a_simple_request_goes_the_short_way(
    name: str, shorts: list[bytes], longs: list[str]
) -> None:
    answer = ask(SIMPLE[name], END)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert len(shorts) == 1
    assert longs == ["/health"]


@pytest.mark.parametrize("name", SPECIAL)
def test_a_special_request_goes_the_long_way(name: str, shorts: list[bytes]) -> None:
    assert ask(SPECIAL[name], END).startswith(b"HTTP/1.1 ")
    assert shorts == []


@pytest.mark.parametrize("name", [*SIMPLE, *SPECIAL])
@pytest.mark.parametrize("fails", [False, True])
def test_both_ways_give_the_same_answer(
    name: str, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {**SIMPLE, **SPECIAL}[name]
    store = fail_commits if fails else None
    short = ask(request, END, store=store)
    monkeypatch.setattr(EventIntake, "opens", lambda *_args: False)
    assert comparable(short) == comparable(ask(request, END, store=store))


@pytest.mark.parametrize("key", [KEY, "another", ""])
def test_a_key_opens_the_short_way_if_it_is_known(key: str, shorts: list[bytes]) -> None:
    request = post(target=b"/e/" + key.encode())
    answer = ask(request, request, END, **CLOSED)
    assert answer.count(b"HTTP/1.1 200 ") == (3 if key == KEY else 1)
    assert len(shorts) == (2 if key == KEY else 0)


def test_requests_in_one_packet_are_answered_in_their_order(
    shorts: list[bytes], longs: list[str]
) -> None:
    answer = ask(post() + post(body=b"nope") + post() + END)
    statuses = re.findall(rb"HTTP/1.1 (\d+)", answer)
    assert statuses == [b"200", b"400", b"200", b"200"]
    assert len(shorts) == 1  # the others came while an answer was owed
    assert longs == ["/e/x", "/e/x", "/health"]


@on_loop
async def test_one_connection_may_change_ways() -> None:
    async with open_api() as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        for pieces in [post()], [post()[:-5], post()[-5:]], [post()], [post(body=b"[]")], [post()]:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            answer = await reader.readuntil(b"}")
            assert re.match(rb"HTTP/1.1 (200|400) ", answer)
        writer.close()


class Held:
    """Keeps the answer to an event back."""

    def __init__(self, api: Api) -> None:
        self.asked = asyncio.Event()
        self.give: Callable[[], None]
        submit = api.runtime.submit_events

        def held(*args: Any) -> None:
            self.asked.set()
            self.give = lambda: submit(*args)

        api.runtime.submit_events = held  # type: ignore[assignment, method-assign]


@on_loop
async def test_a_client_that_has_gone_is_not_answered() -> None:
    async with open_api() as api:
        held = Held(api)
        _reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(post())
        await held.asked.wait()
        writer.close()
        while api.connections:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        held.give()
        while not api.store.reader().events(limit=1):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        assert (await api.get("/health")).status == 200


@pytest.mark.parametrize("fails", [False, True])
def test_a_server_that_leaves_gives_the_answer_and_closes(fails: bool) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            held = Held(api)
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            writer.write(post())
            await held.asked.wait()
            for connection in list(api.connections):
                connection.shutdown()
            if fails:
                fail_commits(api)
            held.give()
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 503 " if fails else b"HTTP/1.1 200 ")
            assert b"\r\nconnection: close\r\n" in answer
            writer.close()

    check()


@on_loop
async def test_a_client_that_does_not_read_waits_on_the_long_way() -> None:
    async with open_api() as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(post())
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        (connection,) = api.connections
        connection.pause_writing()
        writer.write(post())
        while len(api.store.reader().events(limit=9)) < 2:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(1)
        connection.resume_writing()
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
        writer.close()


@on_loop
async def test_a_defect_is_told_on_the_long_way_and_nothing_is_stored_twice() -> None:
    async with open_api() as api:
        submit = api.runtime.submit_events
        calls: list[object] = []

        def break_once(*args: Any) -> None:
            calls.append(args)
            if len(calls) == 1:
                raise ZeroDivisionError
            submit(*args)

        api.runtime.submit_events = break_once  # type: ignore[assignment, method-assign]
        assert (await api.post("/e/x", BODY)).status == 200
        assert len(calls) == 2
        assert len(api.store.reader().events(limit=9)) == 1


def ask(*requests: bytes, store: Callable[[Api], None] | None = None, **settings: Any) -> bytes:
    """Everything that comes back until the server closes the connection."""
    answers: list[bytes] = []

    @on_loop
    async def check() -> None:
        async with open_api(
            event_bytes_max=1_000, event_request_bytes_max=4_000, **settings
        ) as api:
            if store is not None:
                store(api)
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            for request in requests:
                writer.write(request)
                if request is not requests[-1]:
                    await answered(reader, answers)
            answers.append(await reader.read())
            writer.close()

    check()
    return b"".join(answers)


async def answered(reader: asyncio.StreamReader, answers: list[bytes]) -> None:
    """Read one answer, or what comes before the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        answers.append(error.partial)
        return
    answers.append(head)
    if head.startswith(b"HTTP/1.1 100 "):
        await answered(reader, answers)
        return
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length is not None
    answers.append(await reader.readexactly(int(length[1])))


def fail_commits(api: Api) -> None:
    """Let the disk refuse everything from now on."""

    def refuse(_writes: Sequence[object]) -> None:
        raise Retryable("the disk is full")

    api.store.commit = refuse  # type: ignore[assignment, method-assign]


def comparable(answer: bytes) -> list[bytes]:
    """An answer without its ids; the order of headers says nothing."""
    same = re.sub(rb'"[0-9A-HJKMNP-TV-Z]{26}"', b'"ID"', answer)
    return sorted(same.split(b"\r\n"))
