"""What is the same for all routes: CORS, server kind, wrong paths and methods, errors."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.errors import Retryable
from tests.unit.server.api.bench import open_api
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from collections.abc import Callable

ORIGIN = "https://app.example"


@on_loop
async def test_every_answer_names_the_kind_of_server() -> None:  # server 1
    async with open_api() as api:
        for path in ("/health", "/nope", "/v2/nope", "/v1/runs/x"):
            answer = await api.get(path)
            assert answer.headers["x-inngest-server-kind"] == "dev"
            assert answer.headers["vary"] == "Origin"
            assert "access-control-allow-origin" not in answer.headers


@on_loop
async def test_an_origin_is_repeated_on_answers_and_errors() -> None:
    async with open_api() as api:
        for path, status in (("/health", 200), ("/v1/runs/x", 400)):
            answer = await api.get(path, Origin=ORIGIN)
            assert answer.status == status
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert "Link" in answer.headers["access-control-expose-headers"]


@on_loop
async def test_a_preflight_is_answered_for_any_path_without_a_key() -> None:  # server 41
    async with open_api(mode="start", signing_key="ab" * 32, event_keys=("k",)) as api:
        answer = await api.request(
            "OPTIONS",
            "/e/x",
            Origin=ORIGIN,
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers="x-a, content-type",
        )
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-methods"] == "POST"
        assert answer.headers["access-control-allow-headers"] == "x-a, content-type"
        assert answer.headers["access-control-max-age"] == "3600"
        assert "x-inngest-server-kind" not in answer.headers


@on_loop
async def test_a_preflight_for_a_strange_method_allows_nothing() -> None:
    async with open_api() as api:
        answer = await api.request(
            "OPTIONS", "/e/x", Origin=ORIGIN, Access_Control_Request_Method="TRACE"
        )
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (
            "/nope",
            {"code": "not_found", "error": "nothing is at /nope", "data": None, "status": 404},
        ),
        (
            "/v1/nope",
            {"code": "not_found", "error": "nothing is at /v1/nope", "data": None, "status": 404},
        ),
        ("/v2/nope", {"errors": [{"code": "api_error", "message": "Not Found"}]}),
        ("/api/v2/nope", {"errors": [{"code": "api_error", "message": "Not Found"}]}),
    ],
)
def test_an_unknown_path_is_a_404_in_its_shape(path: str, body: dict[str, Any]) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            answer = await api.get(path)
            assert (answer.status, answer.json) == (404, body)

    check()


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/fn/register", "POST"),
        ("GET", "/e/x", "POST"),
        ("POST", "/v1/events", "GET, HEAD"),
        ("GET", "/v0/connect/start", "POST"),
    ],
)
def test_a_wrong_method_names_the_right_ones(method: str, path: str, allow: str) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            answer = await api.request(method, path)
            assert (answer.status, answer.body) == (405, b"")
            assert answer.headers["allow"] == allow

    check()


@pytest.mark.parametrize("path", ["/e/k", "/v1/events", "/v2/runs", "/"])
def test_a_defect_of_ours_is_a_500_without_a_trace(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            break_reads(api, RuntimeError("the secret of the house"))
            method, body = ("POST", b'{"name":"a"}') if path == "/e/k" else ("GET", None)
            with caplog.at_level(logging.ERROR):
                answer = await api.request(method, path, body)
            assert answer.status == 500
            assert b"secret" not in answer.body
            assert b"Traceback" not in answer.body
            assert b"internal_error" in answer.body or b"the server failed" in answer.body
            assert "the secret of the house" in caplog.text

    check()


@pytest.mark.parametrize("path", ["/e/k", "/v1/events", "/v2/runs"])
def test_a_store_that_fails_is_a_503_that_asks_to_come_again(path: str) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            break_reads(api, Retryable("database is locked at /var/x"))
            method, body = ("POST", b'{"name":"a"}') if path == "/e/k" else ("GET", None)
            answer = await api.request(method, path, body)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert b"/var/x" not in answer.body

    check()


@pytest.mark.parametrize("error", [RuntimeError("ours"), Retryable("the store's")])
def test_what_is_logged_of_a_failure_has_no_event_key(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            break_reads(api, error)
            answer = await api.post("/e/the-key", b'{"name":"a"}')
            assert answer.status in (500, 503)

    with caplog.at_level(logging.DEBUG):
        check()
    logged = [repr(record.__dict__) for record in caplog.records]
    assert any("/e/..." in line for line in logged)
    assert not any("the-key" in line for line in logged)


def break_reads(api: Any, error: Exception) -> None:
    """Let everything that this API asks of the runtime's store fail."""

    def fail(*_args: object, **_named: object) -> Callable[..., object]:
        raise error

    reader = api.runtime.reader()
    for name in ("events", "runs", "event", "run"):
        setattr(reader, name, fail)
    api.runtime.reader = lambda: reader
    api.runtime.receive_events = api.runtime.submit_events = fail
