"""What each kind of program has of its own: contexts, threads, streams, connections that close."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import flask
import pytest
from fastapi import FastAPI

import stepwell
import stepwell.fast_api
import stepwell.flask
from stepwell.wire.http_calls import Answer, outcome_from_http
from stepwell.wire.outcomes import Returned
from tests.e2e.serve.fake_server import FakeServer
from tests.e2e.serve.listening import under_uvicorn, under_werkzeug
from tests.e2e.serve.programs import TRIGGER, Program, program
from tests.unit.serve.served import call_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stepwell.function import Function

WAIT_S = 10.0


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


def one(name: str, handler: Callable[..., Any]) -> Callable[[stepwell.Client], list[Function[Any]]]:
    """The functions of a program that has one."""
    return lambda shop: [shop.create_function(fn_id=name, trigger=TRIGGER)(handler)]


@pytest.mark.parametrize("name", ["asgi", "starlette", "fast_api", "django_async"])
def test_a_server_that_hangs_up_cancels_an_async_function(name: str, server: FakeServer) -> None:
    import asyncio

    reached, left = threading.Event(), threading.Event()

    async def waits(ctx: stepwell.Context) -> None:
        reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    with program(
        name, api_url=server.url, is_production=False, functions=one("waits", waits)
    ) as app:
        body = call_body()
        head = (
            f"POST {app.path}?fnId=shop-waits HTTP/1.1\r\nHost: 127.0.0.1:{app.port}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", app.port), timeout=WAIT_S) as connection:
            connection.sendall(head.encode() + body)
            assert reached.wait(WAIT_S)
        assert left.wait(WAIT_S)


@pytest.mark.parametrize("name", ["asgi", "fast_api", "django_async"])
def test_sync_functions_do_not_wait_for_one_another(name: str, server: FakeServer) -> None:
    together = threading.Barrier(3)

    async def unused(ctx: stepwell.Context) -> None:
        """Makes Django's view an async one."""

    def meets(ctx: stepwell.ContextSync) -> str:
        together.wait(WAIT_S)
        return threading.current_thread().name

    functions = lambda shop: one("meets", meets)(shop) + one("unused", unused)(shop)  # noqa: E731
    answers: list[Any] = []
    with program(name, api_url=server.url, is_production=False, functions=functions) as app:
        callers = [
            threading.Thread(target=lambda: answers.append(app.call("meets", call_body()).json))
            for _ in range(3)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(WAIT_S)

    assert len(answers) == 3
    assert all(answer.startswith("stepwell-function") for answer in answers)


@pytest.mark.parametrize("is_async", [False, True])
def test_functions_in_flask_have_its_contexts(is_async: bool, server: FakeServer) -> None:
    shop = stepwell.Client(app_id="shop", is_production=False, api_base_url=server.url)
    app = flask.Flask("the-shop")

    def name(ctx: Any) -> str:
        return f"{flask.current_app.name} {flask.request.method}"

    async def async_name(ctx: Any) -> str:
        return name(ctx)

    handler = async_name if is_async else name
    stepwell.flask.serve(app, shop, one("name", handler)(shop))
    with under_werkzeug(app) as port:
        answer = Program("flask", port, "/api/inngest", "flask", None).call("name", call_body())

    assert answer.json == "the-shop POST"


def test_several_apps_in_one_program(server: FakeServer) -> None:
    app = FastAPI()
    for name in ("a", "b"):
        shop = stepwell.Client(app_id=name, is_production=False, api_base_url=server.url)
        functions = one("who", lambda ctx, name=name: name)(shop)
        stepwell.fast_api.serve(app, shop, functions, serve_path=f"/{name}")
    with under_uvicorn(app) as port:
        for name in ("a", "b"):
            there = Program("fast_api", port, f"/{name}", "fast_api", None)
            assert there.ask("POST", call_body(), query=f"fnId={name}-who").json == name
    assert "/a" not in app.openapi()["paths"]


@pytest.mark.parametrize("name", ["asgi", "fast_api"])
def test_a_streamed_answer_is_read_by_the_server(name: str, server: FakeServer) -> None:
    async def result(ctx: stepwell.Context) -> str:
        return "done"

    with program(
        name,
        api_url=server.url,
        is_production=False,
        functions=one("result", result),
        streaming=True,
    ) as app:
        answer = app.call("result", call_body())

    assert answer.status == 201
    assert answer.body.startswith(b" ")
    outcome = outcome_from_http(
        Answer(status=answer.status, headers=answer.headers, body=answer.body), now_ms=0
    )
    assert isinstance(outcome, Returned)
    assert outcome.output == b'"done"'


def test_threads_of_ours_look_after_djangos_connections(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django import db

    seen: list[str] = []
    monkeypatch.setattr(db, "close_old_connections", lambda: seen.append("checked"))

    async def unused(ctx: stepwell.Context) -> None:
        """Makes Django's view an async one."""

    def queries(ctx: stepwell.ContextSync) -> None:
        seen.append("ran")

    functions = lambda shop: one("queries", queries)(shop) + one("unused", unused)(shop)  # noqa: E731
    with program(
        "django_async", api_url=server.url, is_production=False, functions=functions
    ) as app:
        assert app.call("queries", call_body()).status == 200

    assert seen == ["checked", "ran", "checked"]
