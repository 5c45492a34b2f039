"""Posting events: which answers are tried again, and with what."""

from __future__ import annotations

import asyncio
import base64
import socket
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import aiohttp
import msgspec
import pytest

from stepwell.config import SDK_NAME
from stepwell.errors import SendEventsError
from stepwell.sending import ATTEMPTS_DEFAULT, new_seed, no_answer_reason, post_events
from tests.unit.event_server import EventServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[EventServer]:
    with EventServer() as running:
        yield running


class Waits:
    """Waits between attempts, recorded and not waited for. The jitter gives its maximum."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, delay: float, /) -> None:
        self.seconds.append(delay)


def post(base_url: str, waits: Waits | None = None, **options: Any) -> list[str]:
    async def story() -> list[str]:
        async with aiohttp.ClientSession() as session:
            return await post_events(
                session,
                base_url=base_url,
                event_key=options.pop("event_key", "key"),
                env=options.pop("env", None),
                proxy=options.pop("proxy", None),
                body=options.pop("body", b'[{"name":"a","data":{}},{"name":"b","data":{}}]'),
                attempts=options.pop("attempts", ATTEMPTS_DEFAULT),
                pause=waits or Waits(),
                jitter=lambda most: most,
            )

    return asyncio.run(story())


def test_accepted_events_give_their_ids(server: EventServer) -> None:
    assert post(server.url, event_key="k%2F1", env="branch") == ["id-1-0", "id-1-1"]

    [request] = server.posts
    assert request.path == "/e/k%2F1"
    assert [event["name"] for event in request.events] == ["a", "b"]
    assert request.headers["User-Agent"] == request.headers["X-Inngest-SDK"] == SDK_NAME
    assert request.headers["X-Inngest-Env"] == "branch"
    assert request.headers["Content-Type"] == "application/json"


def test_large_batch_is_sent_whole_in_every_attempt(server: EventServer) -> None:
    body = msgspec.json.encode([{"name": "a", "data": {"text": "x" * (3 * 2**20)}}])
    server.answers = [(500, "", {})]

    assert post(server.url, body=body) == ["id-2-0"]

    assert server.posts[0].events == server.posts[1].events == msgspec.json.decode(body)


def test_environment_is_not_named_unless_there_is_one(server: EventServer) -> None:
    post(server.url)

    assert "X-Inngest-Env" not in server.posts[0].headers


def test_seed_is_a_time_and_ten_bytes() -> None:
    ms, _, entropy = new_seed().partition(",")

    assert len(ms) == 13
    assert len(base64.b64decode(entropy, validate=True)) == 10
    assert new_seed().partition(",")[2] != entropy


def test_server_errors_are_tried_again_with_the_same_seed(server: EventServer) -> None:
    waits = Waits()
    server.answers = [(500, "oops", {}), None, (503, {"error": "busy"}, {}), (599, "", {})]

    assert post(server.url, waits) == ["id-5-0", "id-5-1"]

    assert len({request.seed for request in server.posts}) == 1
    assert waits.seconds == [0.1, 0.2, 0.4, 0.8]


def test_each_send_has_a_seed_of_its_own(server: EventServer) -> None:
    post(server.url)
    post(server.url)

    assert server.posts[0].seed != server.posts[1].seed


def test_fifth_failure_is_the_last(server: EventServer) -> None:
    server.answers = [(500, {"error": f"no {number}"}, {}) for number in range(9)]

    with pytest.raises(SendEventsError, match="answered 500: no 4"):
        post(server.url)

    assert len(server.posts) == ATTEMPTS_DEFAULT


@pytest.mark.parametrize("status", [400, 401, 404, 413, 429])
def test_refusal_is_not_tried_again(server: EventServer, status: int) -> None:
    body = {"ids": [""], "status": status, "error": "event name is empty"}
    server.answers = [(status, body, {})]

    with pytest.raises(SendEventsError, match=f"answered {status}: event name is empty") as caught:
        post(server.url)

    assert len(server.posts) == 1
    assert caught.value.ids == []


def test_wrong_key_is_explained(server: EventServer) -> None:
    server.answers = [(401, {"error": "Event key not found", "status": 401}, {})]

    with pytest.raises(SendEventsError, match="STEPWELL_EVENT_KEY"):
        post(server.url)


def test_refusal_names_what_was_accepted_before(server: EventServer) -> None:
    server.answers = [(400, {"ids": ["id-1"], "status": 400, "error": "event name is empty"}, {})]

    with pytest.raises(SendEventsError) as caught:
        post(server.url)

    assert caught.value.ids == ["id-1"]
    assert caught.value.code == "send_event_failed"


@pytest.mark.parametrize(
    "body", ["<html>login</html>", {"status": 200}, {"ids": ["x"], "error": "but no"}, []]
)
def test_success_that_is_none_is_an_error(server: EventServer, body: Any) -> None:
    server.answers = [(200, body, {})]

    with pytest.raises(SendEventsError, match="answered 200"):
        post(server.url)


def test_too_many_requests_waits_as_long_as_the_server_asks(server: EventServer) -> None:
    waits = Waits()
    server.answers = [(429, "slow down", {"Retry-After": "7"})]

    assert post(server.url, waits) == ["id-2-0", "id-2-1"]
    assert waits.seconds == [7.0]


@pytest.mark.parametrize("retry_after", ["3600", "soon", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_too_many_requests_for_long_is_an_error(server: EventServer, retry_after: str) -> None:
    server.answers = [(429, "slow down", {"Retry-After": retry_after})]

    with pytest.raises(SendEventsError, match="answered 429: slow down"):
        post(server.url)


def test_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    waits = Waits()

    with pytest.raises(SendEventsError, match=f"http://127.0.0.1:{port} could not be reached"):
        post(f"http://127.0.0.1:{port}", waits)

    assert len(waits.seconds) == ATTEMPTS_DEFAULT - 1


def test_waits_between_many_attempts_are_bounded(server: EventServer) -> None:
    waits = Waits()
    server.answers = [(500, "", {})] * 9

    assert post(server.url, waits, attempts=10) == ["id-10-0", "id-10-1"]

    assert waits.seconds == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_sender_that_never_gives_up_goes_on_for_ever(server: EventServer) -> None:
    waits = Waits()
    server.answers = [(500, "", {})] * 1_100  # 0.1 * 2 ** 1_100 is no longer a number

    assert post(server.url, waits, attempts=2_000) == ["id-1101-0", "id-1101-1"]

    assert max(waits.seconds) == 10.0


def test_reasons_are_in_the_system_s_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(SendEventsError, match=r"could not be reached: Connection refused$"):
        post(f"http://127.0.0.1:{port}")
    assert no_answer_reason(TimeoutError()) == "no answer in time"
    assert no_answer_reason(aiohttp.ServerDisconnectedError()) == "Server disconnected"
    unknown = aiohttp.ClientConnectorDNSError(Mock(), socket.gaierror(-2, "Name not known"))
    assert no_answer_reason(unknown) == "Name not known"


def test_proxy_is_used_with_its_credentials(server: EventServer) -> None:
    proxy = server.url.replace("http://", "http://me:p%40ss@")

    assert post("http://api.example", proxy=proxy) == ["id-1-0", "id-1-1"]

    [request] = server.posts
    assert request.headers["Host"] == "api.example"
    credentials = base64.b64encode(b"me:p@ss").decode()
    assert request.headers["Proxy-Authorization"] == f"Basic {credentials}"


def test_redirect_is_not_followed(server: EventServer) -> None:
    server.answers = [(307, "elsewhere", {"Location": "/e/event-secret"})]

    with pytest.raises(SendEventsError, match="answered 307: elsewhere; redirects are not") as told:
        post(server.url, event_key="event-secret")

    assert len(server.posts) == 1
    assert "event-secret" not in str(told.value)


@pytest.mark.parametrize("key", ["event-secret", "event%2Fsecret", "k"])
def test_key_that_the_answer_repeats_is_not_told(server: EventServer, key: str) -> None:
    server.answers = [(404, f"no page {'p' * 180} at /e/{key}", {})]

    with pytest.raises(SendEventsError) as told:
        post(server.url, event_key=key)

    assert "no page" in str(told.value)
    assert f"/e/{key}" not in str(told.value)
    assert "secret" not in str(told.value)


def test_key_in_an_error_of_the_server_is_not_told(server: EventServer) -> None:
    server.answers = [(401, {"error": "no such key: a/event-secret"}, {})]

    with pytest.raises(SendEventsError) as told:
        post(server.url, event_key="a%2Fevent-secret")

    assert "no such key: ***" in str(told.value)


def test_key_in_the_reason_for_no_answer_is_not_told() -> None:
    with pytest.raises(SendEventsError) as told:
        post("http://127.0.0.1:99999", event_key="event-secret")

    assert "event-secret" not in str(told.value)
    assert told.value.__cause__ is None
    assert told.value.__context__ is None
