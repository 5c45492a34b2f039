"""The app's own requests to the server, over a real socket."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import msgspec
import pytest

from stepwell.errors import AuthError, StepwellError
from stepwell.serve.api import ANSWER_BYTES_MAX, ServerApi
from stepwell.serve.orders import Registered, SyncOrder
from stepwell.wire.calls import decode_call
from stepwell.wire.keys import bearer_token
from tests.e2e.serve.fake_server import FakeServer
from tests.unit.serve.served import FALLBACK, KEY, NOW_S, ask, call_body, client, served

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 10.0
STEPS = {"a" * 40: {"data": 1}}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer([KEY]) as running:
        yield running


def api_of(server: FakeServer, *, fallback: bool = False, is_production: bool = True) -> ServerApi:
    shop = client(is_production=is_production, fallback=fallback, api_base_url=server.url)
    return ServerApi(shop.settings)


def register(api: ServerApi) -> Registered | StepwellError:
    order = served(client()).receive(ask("PUT", query="deployId=a b"), now_s=NOW_S)
    assert isinstance(order, SyncOrder)
    return api.register(order).result(WAIT_S)


def test_a_registration_carries_the_credential(server: FakeServer) -> None:
    assert register(api_of(server)) == Registered(status=200, body=server.answer[1])

    [registration] = server.registrations
    assert registration.headers["Authorization"] == f"Bearer {bearer_token(KEY)}"
    assert registration.path == "/fn/register?deployId=a+b"


def test_the_fallback_key_is_tried(server: FakeServer) -> None:
    server.keys = [FALLBACK]

    assert isinstance(register(api_of(server, fallback=True)), Registered)
    assert server.refused == 1
    assert server.registrations[0].headers["Authorization"] == f"Bearer {bearer_token(FALLBACK)}"


@pytest.mark.parametrize(
    ("is_production", "code"), [(True, "signing_key_refused"), (False, "signing_key_missing")]
)
def test_a_credential_that_is_not_accepted(
    server: FakeServer, is_production: bool, code: str
) -> None:
    server.keys = [FALLBACK]
    error = register(api_of(server, is_production=is_production))

    assert isinstance(error, AuthError)
    assert (error.code, error.status) == (code, 502)
    assert KEY.removeprefix("signkey-prod-") not in error.message


def test_other_answers_are_handed_on(server: FakeServer) -> None:
    server.answer = (400, b'{"error":"no"}')

    assert register(api_of(server)) == Registered(status=400, body=b'{"error":"no"}')


def test_an_answer_that_is_too_long_is_none(server: FakeServer) -> None:
    server.answer = (200, b"x" * (ANSWER_BYTES_MAX + 1))

    registered = register(api_of(server))
    assert isinstance(registered, Registered)
    assert registered.status == 502


def test_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    api = ServerApi(client(api_base_url=f"http://127.0.0.1:{port}").settings)

    error = register(api)
    assert isinstance(error, StepwellError)
    assert (error.code, error.status) == ("server_unreachable", 502)


def test_large_state_is_fetched(server: FakeServer) -> None:
    server.steps = STEPS
    call = decode_call(call_body(use_api=True))

    whole = api_of(server).complete(call).result(WAIT_S)

    assert {name: msgspec.json.decode(raw) for name, raw in whole.steps.items()} == STEPS
    assert whole.events == call.events


def test_large_state_that_cannot_be_had(server: FakeServer) -> None:
    server.keys = [FALLBACK]
    future = api_of(server).complete(decode_call(call_body(use_api=True)))

    with pytest.raises(AuthError):
        future.result(WAIT_S)
