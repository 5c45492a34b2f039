"""Who may do what in start mode. In dev mode everybody may do everything."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.wire.keys import hash_signing_key
from tests.unit.server.api.bench import open_api
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from tests.unit.server.api.bench import Answer, Api

KEY = "ab" * 32
FALLBACK = "cd" * 32
START: dict[str, Any] = {
    "mode": "start",
    "signing_key": f"signkey-prod-{KEY}",
    "signing_key_fallback": FALLBACK,
    "event_keys": ("first", "second"),
}

CLOSED = [
    ("GET", "/"),
    ("GET", "/runs/01K7T09A4B0000000000000000"),
    ("POST", "/fn/register"),
    ("POST", "/v0/connect/start"),
    ("POST", "/v0/connect/flush"),
    ("POST", "/v0/start"),
    ("GET", "/v0/runs/01K7T09A4B0000000000000000/actions"),
    ("GET", "/v1/events"),
    ("GET", "/v1/runs/01K7T09A4B0000000000000000"),
    ("GET", "/v2/runs"),
    ("GET", "/api/v2/runs"),
    ("GET", "/v2/health"),
    ("GET", "/v2/workers"),
    ("GET", "/nope"),
    ("GET", "/health/"),
    ("GET", "//health"),
    ("OPTIONS", "/v1/events"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_without_a_credential_nothing_is_told(method: str, path: str) -> None:  # server 13
    @on_loop
    async def check() -> None:
        async with open_api(**START) as api:
            answer = await api.request(method, path)
            assert (answer.status, answer.body) == (401, b"Authentication failed")
            assert answer.headers["x-content-type-options"] == "nosniff"

    check()


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_need_no_credential(path: str) -> None:
    @on_loop
    async def check() -> None:
        async with open_api(**START) as api:
            assert (await api.get(path)).status == 200

    check()


@on_loop
async def test_dev_is_a_404_that_is_no_json() -> None:  # server 14
    async with open_api(**START) as api:
        for headers in ({}, {"Authorization": f"Bearer {KEY}"}):
            answer = await api.get("/dev", **headers)
            assert (answer.status, answer.body) == (404, b"404 page not found")
            assert answer.headers["content-type"].startswith("text/plain")


GOOD = [
    f"Bearer {KEY}",
    f"bearer {hash_signing_key(KEY)}",
    f"Bearer signkey-test-{hash_signing_key(KEY)}",
    f"Bearer {hash_signing_key(FALLBACK)}",
]
BAD = [
    "",
    KEY,
    "Bearer",
    "Bearer ",
    f"Basic {KEY}",
    f"Bearer {hash_signing_key(KEY).upper()}",
    f"Bearer {KEY}0",
    f"Bearer {KEY[:-1]}",
    f"Bearer {'00' * 32}",
    "Bearer é",
]


@pytest.mark.parametrize("authorization", GOOD)
def test_the_key_and_its_hash_open_with_and_without_a_prefix(authorization: str) -> None:
    @on_loop
    async def check() -> None:
        async with open_api(**START) as api:
            assert (await api.get("/v1/events", Authorization=authorization)).status == 200

    check()


@pytest.mark.parametrize("authorization", BAD)
def test_whatever_else_does_not(authorization: str) -> None:
    @on_loop
    async def check() -> None:
        async with open_api(**START) as api:
            assert (await api.get("/v1/events", Authorization=authorization)).status == 401

    check()


@on_loop
async def test_a_browser_is_asked_for_the_key_on_pages_only() -> None:
    async with open_api(**START) as api:
        assert "www-authenticate" in (await api.get("/")).headers
        assert "www-authenticate" not in (await api.get("/v1/events")).headers

        def basic(password: str) -> str:
            return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()

        assert (await api.get("/", Authorization=basic(KEY))).status == 200
        assert (await api.get("/", Authorization=basic("wrong"))).status == 401
        assert (await api.get("/", Authorization=basic(""))).status == 401
        assert (await api.get("/", Authorization="Basic !!!")).status == 401
        assert (await api.get("/", Authorization="Basic /w==")).status == 401
        assert (await api.get("/v1/events", Authorization=basic(KEY))).status == 401


@on_loop
async def test_events_need_one_of_the_event_keys() -> None:  # server 13, 38
    async with open_api(**START) as api:
        for key in START["event_keys"]:
            assert (await api.post(f"/e/{key}", b'{"name":"a"}')).status == 200
        for wrong in ("third", "first2", "First", KEY, "%F0%9F%98%80", "first%20"):
            answer = await api.post(f"/e/{wrong}", b'{"name":"a"}')
            assert answer.status == 401
            assert answer.json == {
                "ids": [],
                "status": 401,
                "code": "event_key_unknown",
                "error": "Event key not found",
            }
        assert (await api.get("/v1/events", Authorization=f"Bearer {KEY}")).json["data"][1:]


@on_loop
async def test_a_wrong_event_key_is_answered_before_the_body_is_read() -> None:
    async with open_api(**START) as api:
        head = b"POST /e/wrong HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n"
        assert b" 401 " in await api.raw(head + b"Connection: close\r\n\r\n")


@on_loop
async def test_dev_mode_takes_any_event_key() -> None:
    async with open_api() as api:
        for key in ("x", "NO_EVENT_KEY_SET", "%F0%9F%98%80"):
            assert (await api.post(f"/e/{key}", b'{"name":"a"}')).status == 200


def refused(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.endswith(".refusals")]


@pytest.mark.parametrize(
    ("path", "authorization", "reason"),
    [
        ("/v1/events", None, "no Authorization header"),
        ("/v1/events", "secret", "the Authorization header is not of the form `Bearer KEY`"),
        ("/v1/events", "Basic secret", "the Authorization header is not of the form `Bearer KEY`"),
        ("/", "Basic secret", "unknown signing key"),
        ("/v1/events", "Bearer secret", "unknown signing key"),
        ("/e/secret", None, "unknown event key"),
    ],
)
def test_a_refusal_is_logged_without_the_credential(
    caplog: pytest.LogCaptureFixture, path: str, authorization: str | None, reason: str
) -> None:
    async def ask(api: Api) -> Answer:
        headers = {} if authorization is None else {"Authorization": authorization}
        return await api.request("POST" if path.startswith("/e/") else "GET", path, None, **headers)

    @on_loop
    async def check() -> None:
        async with open_api(**START) as api:
            assert (await ask(api)).status == 401

    check()
    (record,) = refused(caplog)
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"authentication failed: {reason}"
    assert record.__dict__["remote"] == "127.0.0.1"
    assert record.__dict__["path"] == path.replace("secret", "...")
    assert "secret" not in str(record.__dict__)


@on_loop
async def test_who_may_pass_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with open_api(**START) as api:
        await api.get("/v1/events", Authorization=f"Bearer {KEY}")
        await api.post("/e/first", b'{"name":"a"}')
        await api.get("/health")
    assert refused(caplog) == []
