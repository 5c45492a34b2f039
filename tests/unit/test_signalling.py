"""Sending signals: which answers are tried again, with which key, and what they mean."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest

from stepwell.client import Client
from stepwell.config import SDK_NAME
from stepwell.errors import ConfigError, SendEventsError, StepwellError
from stepwell.sending import ATTEMPTS_DEFAULT
from stepwell.signalling import post_signal
from stepwell.wire.keys import bearer_token
from tests.unit.event_server import EventServer

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "signkey-test-" + "a" * 32
FALLBACK = "signkey-test-" + "b" * 32
BODY = b'{"signal":"order-7","data":{"by":"ann"}}'
TAKEN: tuple[int, Any, dict[str, str]] = (200, {"data": {"run_id": "r"}}, {})
NOBODY: tuple[int, Any, dict[str, str]] = (404, {"error": "No signal found", "status": 404}, {})


@pytest.fixture
def server() -> Iterator[EventServer]:
    with EventServer(path="/v1/signals") as running:
        yield running


class Waits:
    """Waits between attempts, recorded and not waited for. The jitter gives its maximum."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, delay: float, /) -> None:
        self.seconds.append(delay)


def post(base_url: str, waits: Waits | None = None, **options: Any) -> bool:
    async def story() -> bool:
        async with aiohttp.ClientSession() as session:
            return await post_signal(
                session,
                base_url=base_url,
                keys=options.pop("keys", ()),
                env=options.pop("env", None),
                body=options.pop("body", BODY),
                attempts=options.pop("attempts", ATTEMPTS_DEFAULT),
                pause=waits or Waits(),
                jitter=lambda most: most,
            )

    return asyncio.run(story())


def bearers(server: EventServer) -> list[str | None]:
    return [request.headers.get("Authorization") for request in server.posts]


def test_signal_is_posted_with_its_data(server: EventServer) -> None:
    server.answers = [TAKEN]

    assert post(server.url, env="branch") is True

    [request] = server.posts
    assert request.path == "/v1/signals"
    assert request.body == {"signal": "order-7", "data": {"by": "ann"}}
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == SDK_NAME
    assert request.headers["X-Inngest-Env"] == "branch"
    assert "Authorization" not in request.headers


def test_signal_that_nobody_waits_for_is_no_error(server: EventServer) -> None:
    server.answers = [NOBODY]

    assert post(server.url) is False
    assert len(server.posts) == 1


def test_key_is_sent_as_its_hash(server: EventServer) -> None:
    server.answers = [TAKEN]

    post(server.url, keys=[KEY, FALLBACK])

    assert bearers(server) == [f"Bearer {bearer_token(KEY)}"]
    assert "a" * 32 not in str(server.posts[0].headers)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("attempts", [1, 5])
def test_refused_key_is_followed_by_the_fallback(
    server: EventServer, status: int, attempts: int
) -> None:
    waits = Waits()
    server.answers = [(status, {"error": "no"}, {}), TAKEN]

    assert post(server.url, waits, keys=[KEY, FALLBACK], attempts=attempts) is True

    assert bearers(server) == [f"Bearer {bearer_token(key)}" for key in (KEY, FALLBACK)]
    assert waits.seconds == []


def test_fallback_is_used_for_later_attempts_too(server: EventServer) -> None:
    server.answers = [(401, "", {}), (500, "", {}), TAKEN]

    assert post(server.url, keys=[KEY, FALLBACK]) is True

    assert bearers(server)[1:] == [f"Bearer {bearer_token(FALLBACK)}"] * 2


def test_keys_that_are_all_refused_are_an_error(server: EventServer) -> None:
    server.answers = [(401, {"error": "bad key"}, {})] * 5

    with pytest.raises(SendEventsError, match=r"answered 401: .*bad key.*check the signing key"):
        post(server.url, keys=[KEY, FALLBACK])

    assert len(server.posts) == 2


def test_server_errors_are_tried_again(server: EventServer) -> None:
    waits = Waits()
    server.answers = [(500, "oops", {}), None, (503, "busy", {}), TAKEN]

    assert post(server.url, waits) is True
    assert waits.seconds == [0.1, 0.2, 0.4]
    assert [request.body for request in server.posts] == [msgspec.json.decode(BODY)] * 4


def test_last_failure_is_told(server: EventServer) -> None:
    waits = Waits()
    server.answers = [(500, f"no {number}", {}) for number in range(9)]

    with pytest.raises(SendEventsError, match="answered 500: no 2"):
        post(server.url, waits, attempts=3)

    assert len(server.posts) == 3
    assert len(waits.seconds) == 2


@pytest.mark.parametrize("status", [400, 404, 413, 422, 429])
def test_refusal_is_not_tried_again(server: EventServer, status: int) -> None:
    server.answers = [(status, "the signal is not wanted", {})] * 2

    with pytest.raises(SendEventsError, match=f"answered {status}: the signal is not wanted"):
        post(server.url)

    assert len(server.posts) == 1


def test_redirects_are_not_followed(server: EventServer) -> None:
    server.answers = [(307, "", {"Location": "http://127.0.0.1:1/v1/signals"})]

    with pytest.raises(SendEventsError, match="redirects are not followed"):
        post(server.url, keys=[KEY])


def test_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    waits = Waits()

    with pytest.raises(SendEventsError, match=f"127.0.0.1:{port} could not be reached"):
        post(f"http://127.0.0.1:{port}", waits, attempts=2)

    assert waits.seconds == [0.1]


# --- by the client ---


def test_client_sends_signals_both_ways(server: EventServer) -> None:
    client = Client(
        app_id="shop", is_production=True, signing_key=KEY, api_base_url=server.url, env="branch"
    )
    server.answers = [TAKEN, NOBODY]

    assert client.signal_sync("order-7", {"by": "ann"}) is True
    assert asyncio.run(client.signal("order-8")) is False

    assert [request.body for request in server.posts] == [
        {"signal": "order-7", "data": {"by": "ann"}},
        {"signal": "order-8", "data": None},
    ]
    assert bearers(server) == [f"Bearer {bearer_token(KEY)}"] * 2
    assert server.posts[0].headers["X-Inngest-Env"] == "branch"


def test_number_of_attempts_is_the_client_s(server: EventServer) -> None:
    client = Client(app_id="shop", is_production=False, api_base_url=server.url, send_attempts=1)
    server.answers = [(500, "", {})] * 9

    with pytest.raises(SendEventsError):
        client.signal_sync("s")

    assert len(server.posts) == 1


@pytest.mark.parametrize("signal", [None, "", 5])
def test_signal_needs_a_name(server: EventServer, signal: Any) -> None:
    client = Client(app_id="shop", is_production=False, api_base_url=server.url)

    with pytest.raises(ConfigError, match="a signal is a text"):
        client.signal_sync(signal)
    with pytest.raises(ConfigError, match="a signal is a text"):
        asyncio.run(client.signal(signal))
    assert server.posts == []


def test_data_must_have_a_json_form(server: EventServer) -> None:
    client = Client(app_id="shop", is_production=False, api_base_url=server.url)

    with pytest.raises(StepwellError) as caught:
        client.signal_sync("s", object())

    assert caught.value.code == "output_unserializable"


def test_signalling_needs_a_server() -> None:
    client = Client(app_id="shop", is_production=True, event_api_base_url="http://127.0.0.1:1")

    with pytest.raises(ConfigError) as caught:
        client.signal_sync("s")

    assert caught.value.code == "base_url_missing"
