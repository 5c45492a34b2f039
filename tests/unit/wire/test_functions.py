"""Registration of an app, over HTTP and over Connect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.errors import WireError
from stepwell.wire.functions import Registration, parse_connect_app, parse_register


def function(slug: str = "shop-ship", **changes: Any) -> dict[str, Any]:
    url = f"http://localhost:4000/api/inngest?fnId={slug}&stepId=step"
    return {
        "id": slug,
        "name": "Ship",
        "triggers": [{"event": "order/paid"}],
        "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "http", "url": url}}},
        **changes,
    }


def request(**changes: Any) -> dict[str, Any]:
    return {
        "url": "http://localhost:4000/api/inngest",
        "v": "0.1",
        "deployType": "ping",
        "sdk": "js:v4.18.1",
        "framework": "express",
        "appName": "shop",
        "appVersion": "2026-10-01",
        "capabilities": {"trust_probe": "v1", "connect": "v1"},
        "functions": [function()],
        **changes,
    }


def read(given: Any) -> Registration:
    return parse_register(json.dumps(given).encode())


def refusal(given: Any) -> WireError:
    with pytest.raises(WireError) as caught:
        read(given)
    assert caught.value.status == 400
    return caught.value


def connect_app(**changes: Any) -> Registration:
    given: dict[str, Any] = {
        "app_name": "billing",
        "app_version": "2025-11-02.3",
        "functions": json.dumps(
            [
                function(
                    "billing-close-month",
                    steps={
                        "step": {
                            "name": "step",
                            "runtime": {"url": "wss://connect?fnId=billing-close-month"},
                        }
                    },
                )
            ]
        ).encode(),
        "sdk_language": "py",
        "sdk_version": "0.5.18",
        "framework": "connect",
        "platform": "",
        "capabilities": b'{"connect":"v1","in_band_sync":"v1","trust_probe":"v1"}',
        **changes,
    }
    return parse_connect_app(**given)


def test_usual_registration() -> None:
    registration = read(request(headers={"env": "", "platform": "vercel"}))

    assert registration.app_name == "shop"
    assert registration.app_version == "2026-10-01"
    assert registration.url == "http://localhost:4000/api/inngest"
    assert registration.sdk == "js:v4.18.1"
    assert registration.framework == "express"
    assert registration.platform == "vercel"
    assert registration.method == "serve"
    assert [entry.slug for entry in registration.functions] == ["shop-ship"]
    assert len(registration.checksum) == 64


def test_keys_as_other_sdks_spell_them() -> None:
    given = request()
    given["appname"] = given.pop("appName")
    given["deploy_type"] = given.pop("deployType")

    assert read(given).app_name == "shop"
    assert read(given).checksum == read(request()).checksum


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        ({}, "serve"),
        ({"deployType": None}, "serve"),
        ({"deployType": ""}, "serve"),
        ({"deployType": "connect"}, "connect"),
        ({"deployType": None, "deploy_type": "connect"}, "connect"),
    ],
)
def test_method(changes: dict[str, Any], method: str) -> None:
    assert read(request(**changes)).method == method


def test_null_means_absent() -> None:
    registration = read(
        {"appName": "shop", "functions": [], "url": None, "headers": None, "capabilities": None}
    )

    assert (registration.url, registration.platform, registration.functions) == ("", "", ())


def test_checksum_ignores_what_is_not_content() -> None:
    same = read(
        request(
            featureObservations={"aiMetadataExtraction": 1},
            idempotencyKey="x",
            deployId="d",
            headers={"env": None},
            unknown=1,
        )
    )

    assert same.checksum == read(request()).checksum


def test_checksum_ignores_formatting_and_order_of_keys() -> None:
    body = json.dumps(dict(reversed(request().items())), indent=2).encode()

    assert parse_register(body).checksum == read(request()).checksum


@pytest.mark.parametrize(
    "changes",
    [
        {"appVersion": "2"},
        {"sdk": "js:v4.18.2"},
        {"url": "http://localhost:4000/other"},
        {"framework": "nextjs"},
        {"functions": []},
        {"functions": [function(name="Other")]},
        {"functions": [function(triggers=[])]},
        {"functions": [function(unknown=1)]},
        {"functions": [function(), function("shop-other")]},
        {"capabilities": {}},
        {"deployType": "connect"},
    ],
)
def test_checksum_tells_content_apart(changes: dict[str, Any]) -> None:
    assert read(request(**changes)).checksum != read(request()).checksum


def test_names_of_exactly_the_limit() -> None:
    registration = read(request(appName="n" * 512, appVersion="v" * 512))

    assert (len(registration.app_name), len(registration.app_version)) == (512, 512)


@pytest.mark.parametrize("name", ["", None])
def test_app_without_a_name(name: str | None) -> None:
    error = refusal(request(appName=name))

    assert (error.code, error.message) == ("app_id_missing", "App ID required")


@pytest.mark.parametrize(
    "changes",
    [
        {"appName": 1},
        {"appVersion": 1},
        {"appName": "x" * 513},
        {"appVersion": "x" * 513},
        {"url": []},
        {"sdk": {}},
        {"framework": 1},
        {"headers": []},
        {"headers": {"platform": 1}},
        {"capabilities": "x"},
        {"deployType": "other"},
        {"deployType": 1},
        {"functions": None},
        {"functions": {}},
        {"functions": "x"},
        {"capabilities": {"n": 10**400}},
    ],
)
def test_invalid_requests(changes: dict[str, Any]) -> None:
    error = refusal(request(**changes))

    assert error.code == "registration_invalid"
    assert error.message.startswith("Invalid request: ")


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b'{"appName":"\xff"}', b"[" * 1_000_000, b'{"n":1e400}']
)
def test_bodies_that_are_no_request(body: bytes) -> None:
    with pytest.raises(WireError) as caught:
        parse_register(body)

    assert caught.value.code == "registration_invalid"


def test_one_invalid_function_refuses_all_and_is_named() -> None:
    error = refusal(request(functions=[function("a"), function("b", steps={}), function("c")]))

    assert error.code == "function_invalid"
    assert error.message.startswith("At least one function is invalid: function 'b': ")


def test_a_function_without_id_is_named_by_its_place() -> None:
    error = refusal(request(functions=[function("a"), 5]))

    assert error.message == "At least one function is invalid: function 2: it must be an object"


def test_two_functions_of_one_id_are_refused() -> None:
    error = refusal(request(functions=[function("a"), function("a")]))

    assert error.code == "function_invalid"
    assert "the same id" in error.message


def test_connect_app() -> None:
    registration = connect_app()

    assert registration.method == "connect"
    assert registration.sdk == "py:0.5.18"
    assert registration.url == "ws://connect?app_name=billing"
    assert registration.app_version == "2025-11-02.3"
    assert registration.functions[0].on_connect


def test_connect_app_equals_the_same_request_over_http() -> None:
    registration = connect_app()

    assert registration == parse_register(
        json.dumps(
            {
                "v": "1",
                "url": "ws://connect?app_name=billing",
                "deployType": "connect",
                "sdk": "py:0.5.18",
                "framework": "connect",
                "appName": "billing",
                "appVersion": "2025-11-02.3",
                "headers": {"env": None, "platform": ""},
                "capabilities": {"connect": "v1", "in_band_sync": "v1", "trust_probe": "v1"},
                "idempotencyKey": "9c1f0e",
                "functions": [json.loads(bytes(registration.functions[0].raw))],
            }
        ).encode()
    )


@pytest.mark.parametrize("functions", [b"[]", b" [ ] "])
def test_connect_app_without_functions(functions: bytes) -> None:
    assert connect_app(functions=functions).functions == ()


def test_connect_app_without_version_or_capabilities() -> None:
    registration = connect_app(app_version=None, capabilities=b"")

    assert registration.app_version == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"functions": b""},
        {"functions": b"null"},
        {"functions": b"{}"},
        {"functions": b"["},
        {"functions": b"\xff"},
        {"functions": b"[" * 1_000_000},
        {"capabilities": b"x"},
        {"capabilities": b"[]"},
    ],
)
def test_connect_app_that_is_no_request(changes: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        connect_app(**changes)

    assert caught.value.code in ("registration_invalid", "app_id_missing")


def test_connect_app_without_a_name() -> None:
    with pytest.raises(WireError) as caught:
        connect_app(app_name="")

    assert caught.value.code == "app_id_missing"
