"""The ASGI adapter, driven without a server: bodies in pieces, callers that hang up, streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import stepwell
from stepwell.serve import asgi
from stepwell.serve.asgi import AsgiApp, Message
from stepwell.serve.handler import SYNC_BYTES_MAX
from stepwell.serve.options import ServeOptions
from stepwell.serve.shell import Shell
from tests.unit.connect.loop import on_loop
from tests.unit.serve.served import call_body, client, ship

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepwell.function import Function

QUERY = b"fnId=shop-ship&stepId=step"
TRIGGER = stepwell.TriggerEvent(event="order/paid")


class Connection:
    """What a server is to an app, for one request."""

    def __init__(self, *messages: Message, **scope: Any) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "scheme": "http",
            "path": "/api/inngest",
            "query_string": QUERY,
            "headers": [(b"host", b"localhost:4000")],
            "server": ("127.0.0.1", 4000),
            **scope,
        }
        self._messages = list(messages)
        self._gone = asyncio.Event()
        self._moved = asyncio.Event()
        self.sent: list[Message] = []
        self.received = 0

    async def receive(self) -> Message:
        self.received += 1
        self._moved.set()
        if self._messages:
            return self._messages.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self._moved.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that depends on what was sent and received."""
        while not is_so():
            self._moved.clear()
            await self._moved.wait()

    def hang_up(self) -> None:
        self._gone.set()

    @property
    def status(self) -> int:
        status = self.sent[0]["status"]
        assert isinstance(status, int)
        return status

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def body_of(*pieces: bytes) -> list[Message]:
    """The messages of a body in pieces."""
    return [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]


def app_of(*functions: Function[Any], **options: Any) -> AsgiApp:
    shop = client()
    return AsgiApp(
        Shell(shop, functions or [ship(shop)], ServeOptions(framework="asgi", **options))
    )


async def run(app: AsgiApp, connection: Connection) -> Connection:
    await app(connection.scope, connection.receive, connection.send)
    return connection


@on_loop
async def test_a_body_may_come_in_pieces() -> None:
    body = call_body()
    connection = await run(app_of(), Connection(*body_of(body[:10], b"", body[10:])))

    assert connection.status == 206
    assert msgspec.json.decode(connection.body)[0]["op"] == "StepRun"
    headers = dict(connection.sent[0]["headers"])
    assert headers[b"content-length"] == str(len(connection.body)).encode()
    assert headers[b"x-inngest-sdk-handled"] == b"true"


@on_loop
async def test_a_body_is_not_read_on_beyond_its_limit() -> None:
    pieces = [b"x" * 1024] * 1024
    connection = Connection(*body_of(*pieces), method="PUT")

    await run(app_of(), connection)

    assert connection.status == 413
    assert connection.received == SYNC_BYTES_MAX // 1024 + 1


@on_loop
async def test_a_request_that_is_refused_is_not_read() -> None:
    connection = await run(app_of(), Connection(*body_of(b"x"), method="DELETE"))

    assert connection.status == 405
    assert connection.received == 0


@on_loop
async def test_a_caller_that_hangs_up_in_its_body_gets_no_answer() -> None:
    connection = Connection({"type": "http.request", "body": b"{", "more_body": True})
    connection.hang_up()

    await run(app_of(), connection)

    assert connection.sent == []


def waiting(reached: asyncio.Event, seen: list[str]) -> Function[Any]:
    """A function that waits until it is cancelled."""

    async def function(ctx: stepwell.Context) -> None:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("left")

    return client().create_function(fn_id="ship", trigger=TRIGGER)(function)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_caller_that_hangs_up_cancels_its_call(streaming: bool) -> None:
    @on_loop
    async def story() -> None:
        reached, seen = asyncio.Event(), list[str]()
        connection = Connection(*body_of(call_body()))
        app = app_of(waiting(reached, seen), streaming=streaming)
        task = asyncio.create_task(run(app, connection))
        await reached.wait()

        connection.hang_up()
        await task

        assert seen == ["left"]
        assert [message["type"] for message in connection.sent] == (
            ["http.response.start", "http.response.body"] if streaming else []
        )

    story()


@on_loop
async def test_a_server_that_stops_cancels_its_calls() -> None:
    reached, seen = asyncio.Event(), list[str]()
    task = asyncio.create_task(
        run(app_of(waiting(reached, seen)), Connection(*body_of(call_body())))
    )
    await reached.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert seen == ["left"]


@on_loop
async def test_what_cannot_be_watched_runs_on() -> None:
    connection = Connection(*body_of(call_body()))
    receive = connection.receive

    async def unwatchable() -> Message:
        if connection.received:
            raise RuntimeError("the body was read")
        return await receive()

    await app_of()(connection.scope, unwatchable, connection.send)

    assert connection.status == 206


@on_loop
async def test_more_body_is_no_hanging_up() -> None:
    messages = [*body_of(call_body()), *body_of(b"", b"")]
    go_on = asyncio.Event()

    async def function(ctx: stepwell.Context) -> str:
        await go_on.wait()
        return "done"

    declared = client().create_function(fn_id="ship", trigger=TRIGGER)(function)
    connection = Connection(*messages)
    task = asyncio.create_task(run(app_of(declared), connection))
    await connection.until(lambda: connection.received > len(messages))
    go_on.set()
    await task

    assert (connection.status, connection.body) == (200, b'"done"')


@on_loop
async def test_a_stream_begins_at_once_and_ends_with_the_answer() -> None:
    go_on = asyncio.Event()

    async def function(ctx: stepwell.Context) -> str:
        await go_on.wait()
        raise stepwell.NonRetriableError("no")

    declared = client().create_function(fn_id="ship", trigger=TRIGGER)(function)
    connection = Connection(*body_of(call_body()))
    task = asyncio.create_task(run(app_of(declared, streaming=True), connection))
    await connection.until(lambda: len(connection.sent) == 2)

    assert connection.status == 201
    assert connection.body == b" "
    go_on.set()
    await task
    envelope = msgspec.json.decode(connection.body)
    assert envelope["status"] == 400
    assert envelope["headers"]["X-Inngest-No-Retry"] == "true"
    assert envelope["body"]["message"] == "no"
    assert connection.sent[-1]["more_body"] is False


@on_loop
async def test_a_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "HEARTBEAT_S", 0.001)
    reached, seen = asyncio.Event(), list[str]()
    connection = Connection(*body_of(call_body()))
    task = asyncio.create_task(run(app_of(waiting(reached, seen), streaming=True), connection))

    await connection.until(lambda: connection.body == b"   ")
    connection.hang_up()
    await task

    assert seen == ["left"]


@on_loop
async def test_only_calls_are_streamed() -> None:
    app = app_of(streaming=True)

    assert (await run(app, Connection(method="GET"))).status == 200
    assert (await run(app, Connection(*body_of(b"{"), query_string=b""))).status == 400


def place(**scope: Any) -> str:
    request = asgi._head({**Connection().scope, **scope})
    return request.origin + request.path


def test_where_the_app_is() -> None:
    assert place() == "http://localhost:4000/api/inngest"
    assert place(scheme="https") == "https://localhost:4000/api/inngest"
    assert place(headers=[]) == "http://127.0.0.1:4000/api/inngest"
    assert place(headers=[], server=None) == "http://localhost/api/inngest"
    assert place(root_path="/v1") == "http://localhost:4000/v1/api/inngest"
    assert place(root_path="/api") == "http://localhost:4000/api/inngest"
    assert place(path="/a b") == "http://localhost:4000/a%20b"


@on_loop
async def test_as_a_program_of_its_own_it_starts_and_stops() -> None:
    connection = Connection(
        {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}, type="lifespan"
    )
    await run(app_of(), connection)

    assert [message["type"] for message in connection.sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


@on_loop
async def test_websockets_are_turned_away() -> None:
    connection = await run(app_of(), Connection({"type": "websocket.connect"}, type="websocket"))

    assert connection.sent == [{"type": "websocket.close"}]


@on_loop
async def test_another_protocol_is_an_error() -> None:
    with pytest.raises(ValueError, match="carrier-pigeon"):
        await run(app_of(), Connection(type="carrier-pigeon"))


def test_serve_makes_an_app() -> None:
    shop = client()
    make: Callable[..., AsgiApp] = asgi.serve
    functions: Sequence[Function[Any]] = [ship(shop)]
    app = make(shop, functions, serve_origin="https://a.example.com", serve_path="b")

    options = app._shell.app.options
    assert (options.origin, options.path) == ("https://a.example.com", "/b")
