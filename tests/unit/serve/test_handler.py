"""Methods, sizes, probes, introspection and syncs: what each is answered with, and to whom."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import stepwell
from stepwell.config import SDK_NAME
from stepwell.errors import ConfigError, StepwellError
from stepwell.serve.handler import CALL_BYTES_MAX, SYNC_BYTES_MAX
from stepwell.serve.messages import Request, Response
from stepwell.serve.orders import Registered, SyncOrder
from stepwell.version import __version__
from stepwell.wire.functions import parse_in_band, parse_register
from stepwell.wire.keys import hash_signing_key
from stepwell.wire.signing import verify
from tests.unit.serve.served import (
    FALLBACK,
    KEY,
    NOW_S,
    ask,
    call,
    client,
    json,
    served,
    ship,
)

if TYPE_CHECKING:
    from stepwell.serve.handler import ServedApp

BARE = {"Content-Type", "Cache-Control", "X-Inngest-SDK-Handled"}


def answered(app: ServedApp, request: Request) -> Response:
    answer = app.receive(request, now_s=NOW_S)
    assert isinstance(answer, Response)
    return answer


def ordered(app: ServedApp, request: Request) -> SyncOrder:
    order = app.receive(request, now_s=NOW_S)
    assert isinstance(order, SyncOrder), order
    return order


# --- methods, sizes, probes ---


@pytest.mark.parametrize("is_production", [False, True])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "DELETE", "TRACE", "get", "FOO"])
def test_other_methods_are_not_answered(method: str, is_production: bool) -> None:
    answer = served(client(is_production=is_production)).refuse(
        ask(method, origin="https://elsewhere.example.com")
    )

    assert answer is not None
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, POST, PUT"
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert set(answer.headers) == {*BARE, "Allow"}
    assert (answer.body == b"") == (method == "HEAD")


@pytest.mark.parametrize(("method", "limit"), [("POST", CALL_BYTES_MAX), ("PUT", SYNC_BYTES_MAX)])
def test_a_body_over_the_limit_is_refused(method: str, limit: int) -> None:
    app = served(client())

    assert app.bytes_max(method) == limit
    announced = app.refuse(ask(method, content_length=str(limit + 1)))
    assert announced is not None
    read = answered(app, ask(method, body=b"x" * (limit + 1)))
    for answer in (announced, read):
        assert answer.status == 413
        assert json(answer)["code"] == "request_too_large"
        assert str(limit) in json(answer)["message"]
    assert app.refuse(ask(method, content_length=str(limit))) is None


@pytest.mark.parametrize("text", ["", "-1", "1e9", "9" * 30, "\u0661"])
def test_a_length_that_says_nothing_is_not_believed(text: str) -> None:
    assert served(client()).refuse(ask(content_length=text)) is None


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_a_signed_probe_is_answered(body: bytes) -> None:
    app = served(client(is_production=True))
    answer = answered(app, ask(body=body, query="probe=trust", key=KEY))

    assert answer.status == 200
    assert verify(answer.body, answer.headers["X-Inngest-Signature"], keys=[KEY], now_s=NOW_S)


def test_a_probe_in_development_is_answered() -> None:
    assert answered(served(client()), ask(query="probe=trust")).status == 200


# --- introspection ---

FOR_ALL = {"authentication_succeeded", "extra", "function_count", "has_event_key",
           "has_signing_key", "has_signing_key_fallback", "mode", "schema_version"}  # fmt: skip
FOR_VERIFIED = {"api_origin", "app_id", "capabilities", "env", "event_api_origin",
                "event_key_hash", "framework", "sdk_language", "sdk_version", "serve_origin",
                "serve_path", "signing_key_hash", "signing_key_fallback_hash"}  # fmt: skip


def test_in_development_everybody_sees_a_little() -> None:
    app = served(client(env="branch-7"))
    answer = answered(app, ask("GET", x_inngest_server_kind="dev"))

    assert answer.status == 200
    assert answer.headers["X-Inngest-SDK"] == SDK_NAME
    told = json(answer)
    assert set(told) == FOR_ALL
    assert told["mode"] == "dev"
    assert told["function_count"] == 1
    assert told["has_event_key"] is True
    assert told["has_signing_key"] is False
    assert told["authentication_succeeded"] is None


@pytest.mark.parametrize("is_production", [False, True])
def test_the_verified_see_more(is_production: bool) -> None:
    shop = client(
        is_production=is_production, fallback=True, signing_key=KEY, env="branch-7",
        api_base_url="https://stepwell.example.com",
    )  # fmt: skip
    answer = answered(served(shop, origin="https://shop.example.com"), ask("GET", key=FALLBACK))

    assert answer.status == 200
    told = json(answer)
    assert set(told) == FOR_ALL | FOR_VERIFIED
    assert told["authentication_succeeded"] is True
    assert told["app_id"] == "shop"
    assert told["env"] == "branch-7"
    assert told["api_origin"] == "https://stepwell.example.com"
    assert told["serve_origin"] == "https://shop.example.com"
    assert told["sdk_version"] == __version__
    assert told["event_key_hash"] == hashlib.sha256(b"secret-event-key").hexdigest()
    assert told["capabilities"]["in_band_sync"] == "v1"


def test_nothing_that_is_told_opens_the_api() -> None:
    answer = answered(served(client(is_production=True, fallback=True)), ask("GET", key=KEY))

    for key in (KEY, FALLBACK):
        assert hash_signing_key(key)[:12].encode() in answer.body
        assert hash_signing_key(key).encode() not in answer.body
        assert key.removeprefix("signkey-prod-").encode() not in answer.body
    assert b"secret-event-key" not in answer.body


def test_the_placeholder_of_development_is_no_event_key() -> None:
    shop = stepwell.Client(app_id="shop", is_production=False)

    assert json(answered(served(shop), ask("GET")))["has_event_key"] is False


@pytest.mark.parametrize(("is_production", "kind"), [(False, "cloud"), (True, "dev")])
@pytest.mark.parametrize(("method", "status"), [("GET", 403), ("PUT", 400)])
def test_a_server_of_the_other_kind_is_told_so(
    is_production: bool, kind: str, method: str, status: int
) -> None:
    app = served(client(is_production=is_production))
    answer = answered(app, ask(method, x_inngest_server_kind=kind))

    assert (answer.status, json(answer)["code"]) == (status, "server_kind_mismatch")
    mend = "set STEPWELL_DEV=1" if is_production else "give it STEPWELL_SIGNING_KEY"
    assert mend in json(answer)["message"]
    assert set(answer.headers) == BARE


# --- syncs out of band ---


def test_a_sync_registers_at_the_server() -> None:
    shop = client(env="branch-7", app_version="abc123")
    order = ordered(
        served(shop),
        ask("PUT", query="deployId=d-1", x_inngest_server_kind="dev", body=b'{"url":"x"}'),
    )

    assert order.deploy_id == "d-1"
    assert order.headers == {
        "Content-Type": "application/json",
        "User-Agent": SDK_NAME,
        "X-Inngest-SDK": SDK_NAME,
        "X-Inngest-Framework": "test",
        "X-Inngest-Sync-Kind": "out_of_band",
        "X-Inngest-Env": "branch-7",
        "X-Inngest-Expected-Server-Kind": "dev",
    }
    body = msgspec.json.decode(order.body)
    assert body["url"] == "http://localhost:4000/api/inngest"
    assert body["deployType"] == "ping"
    assert body["sdk"] == f"py:v{__version__}"
    assert body["appName"] == "shop"
    assert body["appVersion"] == "abc123"
    [function] = body["functions"]
    assert function["steps"]["step"]["runtime"] == {
        "type": "http",
        "url": "http://localhost:4000/api/inngest?fnId=shop-ship&stepId=step",
    }


def test_the_server_understands_the_registration() -> None:
    registration = parse_register(ordered(served(client()), ask("PUT")).body)

    assert registration.app_name == "shop"
    assert registration.method == "serve"
    assert [function.slug for function in registration.functions] == ["shop-ship"]


def test_failure_handlers_are_registered_too() -> None:
    shop = client()
    function = shop.create_function(
        fn_id="ship",
        trigger=stepwell.TriggerEvent(event="order/paid"),
        on_failure=lambda ctx: None,
    )(lambda ctx: None)

    order = ordered(served(shop, [function]), ask("PUT"))

    ids = [one["id"] for one in msgspec.json.decode(order.body)["functions"]]
    assert ids == ["shop-ship", "shop-ship-failure"]


def url_of(app: ServedApp, request: Request) -> Any:
    return msgspec.json.decode(ordered(app, request).body)["url"]


def test_where_the_app_is() -> None:
    named = b'{"url":"https://shop.example.com/fns?deployId=7"}'
    signed = ask("PUT", body=named, key=KEY)
    production = client(is_production=True)

    assert url_of(served(client()), ask("PUT", body=named)) == "http://localhost:4000/api/inngest"
    assert url_of(served(production), signed) == "https://shop.example.com/fns"
    assert (
        url_of(served(production, origin="https://b.example.com"), signed)
        == "https://b.example.com/api/inngest"
    )
    assert (
        url_of(served(production, origin="https://b.example.com", path="/c"), signed)
        == "https://b.example.com/c"
    )
    assert url_of(served(client(), path="/c"), ask("PUT")) == "http://localhost:4000/c"


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"url":5}', b'{"url":"ftp://a/b"}'])
def test_a_signed_sync_that_names_no_place(body: bytes) -> None:
    app = served(client(is_production=True))

    assert url_of(app, ask("PUT", body=body, key=KEY)) == "http://localhost:4000/api/inngest"


@pytest.mark.parametrize(("options", "is_taken"), [
    ({}, False),
    ({"origin": "https://shop.example.com"}, True),
    ({"unsigned_sync": True}, True),
    ({"origin": "https://shop.example.com", "unsigned_sync": False}, False),
])  # fmt: skip
def test_an_unsigned_sync_in_production(options: dict[str, Any], is_taken: bool) -> None:
    app = served(client(is_production=True), **options)
    answer = app.receive(ask("PUT"), now_s=NOW_S)

    assert isinstance(answer, SyncOrder) == is_taken
    if isinstance(answer, Response):
        assert answer.status == 401


def test_an_unsigned_sync_gets_no_configuration() -> None:
    app = served(client(is_production=True), origin="https://shop.example.com")
    answer = answered(app, ask("PUT", x_inngest_sync_kind="in_band"))

    assert (answer.status, json(answer)["code"]) == (401, "signature_missing")


def test_a_wrong_signature_is_not_as_good_as_none() -> None:
    app = served(client(is_production=True), origin="https://shop.example.com")
    answer = answered(app, ask("PUT", key=FALLBACK))

    assert (answer.status, json(answer)["code"]) == (401, "signature_invalid")


def synced(app: ServedApp, result: Registered | StepwellError, key: str | None = KEY) -> Response:
    return app.synced(ordered(app, ask("PUT", key=key)), result, now_s=NOW_S)


def test_the_servers_answer_is_passed_on() -> None:
    said = b'{"ok":true,"modified":true,"sync_id":"s","app_id":"a"}'
    answer = synced(served(client(is_production=True)), Registered(status=200, body=said))

    assert (answer.status, answer.body) == (200, said)
    assert answer.headers["X-Inngest-Sync-Kind"] == "out_of_band"
    assert answer.headers["X-Inngest-SDK"] == SDK_NAME
    assert verify(answer.body, answer.headers["X-Inngest-Signature"], keys=[KEY], now_s=NOW_S)


@pytest.mark.parametrize(("result", "status", "code", "said"), [
    (Registered(status=400, body=b'{"code":"function_invalid","error":"ship: no name"}'),
     400, "function_invalid", "ship: no name"),
    (Registered(status=400, body=b'{"error":"App ID required","status":400}'),
     400, "registration_refused", "App ID required"),
    (Registered(status=413, body=b"too much"), 400, "registration_refused", "too much"),
    (Registered(status=503, body=b"{}"), 502, "server_unreachable", "503"),
    (Registered(status=302, body=b""), 502, "server_unreachable", "302"),
    (Registered(status=200, body=b"<html>"), 502, "not_a_server", "base URL"),
    (Registered(status=200, body=b"[]"), 502, "not_a_server", "base URL"),
    (StepwellError("no way", code="server_unreachable", status=502),
     502, "server_unreachable", "no way"),
])  # fmt: skip
def test_a_registration_that_failed(
    result: Registered | StepwellError,
    status: int,
    code: str,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "stepwell.serve"):
        answer = synced(served(client(is_production=True)), result)

    assert (answer.status, json(answer)["code"]) == (status, code)
    assert said in json(answer)["message"]
    assert said in caplog.text


def test_strangers_are_not_told_why(caplog: pytest.LogCaptureFixture) -> None:
    app = served(client(is_production=True), origin="https://shop.example.com")
    result = Registered(status=400, body=b'{"code":"function_invalid","error":"ship: no name"}')

    answer = synced(app, result, key=None)

    assert answer.status == 400
    assert json(answer)["code"] == "registration_refused"
    assert "ship" not in json(answer)["message"]
    assert set(answer.headers) == {*BARE, "X-Inngest-Sync-Kind"}
    assert "ship: no name" in caplog.text


def test_why_an_app_is_not_registered_is_logged_until_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = served(client(is_production=True))

    def refused(why: str) -> Registered:
        return Registered(status=400, body=b'{"error":"%b"}' % why.encode())

    taken = Registered(status=200, body=b'{"ok":true,"modified":true}')
    for result in (refused("one"), refused("one"), refused("two"), taken, refused("two")):
        synced(app, result)

    told = [record.getMessage() for record in caplog.records]
    assert [line.rpartition(": ")[2] for line in told] == ["one", "two", "two"]


# --- syncs in band ---


def test_the_configuration_in_the_answer() -> None:
    app = served(client(is_production=True, env="branch-7", app_version="abc123"))
    named = b'{"url":"https://shop.example.com/fns"}'
    answer = answered(app, ask("PUT", body=named, key=KEY, x_inngest_sync_kind="in_band"))

    assert answer.status == 200
    assert answer.headers["X-Inngest-Sync-Kind"] == "in_band"
    assert verify(answer.body, answer.headers["X-Inngest-Signature"], keys=[KEY], now_s=NOW_S)
    told = json(answer)
    assert set(told) == {"app_id", "appVersion", "capabilities", "env", "framework", "functions",
                         "inspection", "platform", "sdk_author", "sdk_language", "sdk_version",
                         "url"}  # fmt: skip
    assert told["url"] == "https://shop.example.com/fns"
    assert told["inspection"]["authentication_succeeded"] is True
    registration = parse_in_band(answer.body, url="http://unused/")
    assert registration.app_name == "shop"
    assert [one.url for one in registration.functions] == [
        "https://shop.example.com/fns?fnId=shop-ship&stepId=step"
    ]


def test_in_development_the_configuration_needs_no_signature() -> None:
    answer = answered(served(client(env="secret")), ask("PUT", x_inngest_sync_kind="in_band"))

    assert answer.status == 200
    assert set(json(answer)["inspection"]) == FOR_ALL


def test_without_in_band_syncs_the_app_registers() -> None:
    app = served(client(is_production=True), in_band=False)

    assert ordered(app, ask("PUT", key=KEY, x_inngest_sync_kind="in_band")).caller.key == KEY


# --- what can be served ---


def test_an_app_without_functions_is_refused() -> None:
    from stepwell.serve.handler import ServedApp
    from stepwell.serve.options import ServeOptions

    with pytest.raises(ConfigError) as caught:
        ServedApp(client(), [], ServeOptions(framework="test"))
    assert caught.value.code == "functions_missing"


def test_functions_with_one_name_are_refused() -> None:
    shop = client()
    with pytest.raises(ConfigError) as caught:
        served(shop, [ship(shop), ship(shop)])
    assert caught.value.code == "functions_conflict"


def test_functions_of_another_app_are_refused() -> None:
    other = stepwell.Client(app_id="other", is_production=False)
    with pytest.raises(ConfigError) as caught:
        served(client(), [ship(other)])
    assert caught.value.code == "functions_conflict"


def test_a_client_without_an_api_is_refused() -> None:
    shop = client()
    shop.settings = msgspec.structs.replace(shop.settings, api_base_url=None)
    with pytest.raises(ConfigError) as caught:
        served(shop)
    assert caught.value.code == "base_url_missing"


def test_something_broken_says_nothing_of_itself() -> None:
    answer = served(client()).broken()

    assert (answer.status, json(answer)["code"]) == (500, "internal_error")
    assert set(answer.headers) == BARE


def test_the_environments_name_is_for_those_who_may_call() -> None:
    production = served(client(is_production=True, env="secret"))

    assert answered(production, ask("GET", key=KEY)).headers["X-Inngest-Env"] == "secret"
    assert "X-Inngest-Env" not in answered(production, call()).headers
