"""The WSGI adapter, driven without a server."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import msgspec
import pytest

from stepwell.serve.handler import SYNC_BYTES_MAX
from stepwell.serve.wsgi import WsgiApp, head_of, serve
from tests.unit.serve.served import call_body, client, ship


def environ(body: bytes = b"", method: str = "POST", **more: Any) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": "/api/inngest",
        "QUERY_STRING": "fnId=shop-ship&stepId=step",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "5000",
        "HTTP_HOST": "localhost:5000",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/json",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        **more,
    }


def app_of(**options: Any) -> WsgiApp:
    shop = client()
    return serve(shop, [ship(shop)], **options)


def ask(given: dict[str, Any], app: WsgiApp | None = None) -> tuple[str, dict[str, str], bytes]:
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        seen.append((status, dict(headers)))

    body = b"".join((app or app_of())(given, start_response))
    [(status, headers)] = seen
    return status, headers, body


def test_a_call_is_answered() -> None:
    status, headers, body = ask(environ(call_body()))

    assert status == "206 Partial Content"
    assert headers["Content-Length"] == str(len(body))
    assert headers["X-Inngest-Framework"] == "wsgi"
    assert msgspec.json.decode(body)[0]["op"] == "StepRun"


def test_an_unknown_length_is_read_if_the_server_ends_the_body() -> None:
    unknown = environ(call_body(), CONTENT_LENGTH="")

    assert ask({**unknown, "wsgi.input_terminated": True})[0].startswith("206")
    assert ask(unknown)[0].startswith("400")


def test_a_body_over_the_limit_is_refused() -> None:
    large = environ(b"x" * (SYNC_BYTES_MAX + 9), "PUT")
    chunked = {**large, "CONTENT_LENGTH": "", "wsgi.input_terminated": True}

    assert ask(large)[0].startswith("413")
    assert large["wsgi.input"].tell() == 0
    assert ask(chunked)[0].startswith("413")
    assert chunked["wsgi.input"].tell() == SYNC_BYTES_MAX + 1


def test_other_methods_are_not_answered() -> None:
    status, headers, _ = ask(environ(method="OPTIONS"))

    assert status == "405 Method Not Allowed"
    assert headers["Allow"] == "GET, POST, PUT"


@pytest.mark.parametrize(("more", "place"), [
    ({}, "http://localhost:5000/api/inngest"),
    ({"wsgi.url_scheme": "https"}, "https://localhost:5000/api/inngest"),
    ({"HTTP_HOST": "a/b"}, "http://127.0.0.1:5000/api/inngest"),
    ({"SCRIPT_NAME": "/shop"}, "http://localhost:5000/shop/api/inngest"),
    ({"PATH_INFO": "/\u00c3\u00bc"}, "http://localhost:5000/%C3%BC"),
])  # fmt: skip
def test_where_the_app_is(more: dict[str, Any], place: str) -> None:
    head = head_of({**environ(), **more})

    assert head.origin + head.path == place
