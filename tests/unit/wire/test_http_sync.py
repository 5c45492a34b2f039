from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.errors import OutboundError
from stepwell.wire.http_calls import Answer
from stepwell.wire.http_sync import (
    Refused,
    SyncAnswer,
    Told,
    Took,
    read_sync_answer,
    refused_by_network,
    sync_body,
)

URL = "http://localhost:3000/api/inngest"
SDK = {"x-inngest-sdk": "inngest-js:v4.18.1"}
FUNCTION = {
    "id": "shop-ship",
    "name": "Ship",
    "triggers": [{"event": "order/paid"}],
    "steps": {
        "step": {
            "id": "step",
            "name": "step",
            "runtime": {"type": "http", "url": f"{URL}?fnId=shop-ship&stepId=step"},
            "retries": {"attempts": 2},
        }
    },
}
CONFIGURATION: dict[str, Any] = {
    "app_id": "shop",
    "appVersion": "7",
    "env": None,
    "framework": "express",
    "functions": [FUNCTION],
    "inspection": {},
    "platform": "render",
    "sdk_author": "inngest",
    "sdk_language": "js",
    "sdk_version": "4.18.1",
    "url": "http://127.0.0.1:3000/api/inngest?deployId=1",
}


def read(status: int, body: object = b"", **headers: str) -> SyncAnswer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_sync_answer(Answer(status=status, headers={**SDK, **named}, body=raw), url=URL)


def test_the_request_is_canonical() -> None:
    assert sync_body("http://é/") == '{"url":"http://é/"}'.encode()


@pytest.mark.parametrize("kind", [{"x_inngest_sync_kind": "in_band"}, {}])
def test_an_answer_with_functions_is_a_registration(kind: dict[str, str]) -> None:
    found = read(200, CONFIGURATION, **kind)
    assert isinstance(found, Told)
    told = found.registration
    assert (told.app_name, told.app_version, told.sdk) == ("shop", "7", "js:v4.18.1")
    assert (told.url, told.method, told.platform) == (URL, "serve", "render")
    assert [function.slug for function in told.functions] == ["shop-ship"]


def test_an_app_that_does_not_say_where_it_is_is_where_it_was_asked() -> None:
    bare = {name: value for name, value in CONFIGURATION.items() if name != "url"}
    found = read(200, bare)
    assert isinstance(found, Told)
    assert found.registration.url == URL


def test_a_configuration_that_is_none_is_refused_with_the_reason() -> None:
    found = read(200, {**CONFIGURATION, "functions": [{"id": "x"}]})
    assert isinstance(found, Refused)
    assert (found.reason, "name is required" in found.text) == ("function_invalid", True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        {"message": "Successfully registered", "modified": True},
        {"ok": True, "modified": False, "sync_id": "s", "app_id": "a"},
        b"null",
    ],
)
def test_an_app_that_registered_by_itself(body: object) -> None:
    assert read(200, body, x_inngest_sync_kind="out_of_band") == Took()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"message": "Expected server kind cloud, got dev", "modified": False}, "Expected server"),
        ({"code": "function_invalid", "error": "bad", "status": 400}, "bad"),
    ],
)
def test_a_200_may_hide_a_refusal(body: object, text: str) -> None:
    found = read(200, body)
    assert isinstance(found, Refused)
    assert text in found.text


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, {"message": "no_functions"}, "no_functions"),
        (400, {"message": "what?"}, "sync_refused"),
        (401, {"message": "Unauthorized"}, "unauthorized"),
        (403, b"", "forbidden"),
        (404, b"<html>", "url_not_found"),
        (405, b"", "sync_refused"),
        (500, {"code": "registration_failed"}, "internal_server_error"),
        (503, b"", "internal_server_error"),
        (302, b"", "sync_refused"),
    ],
)
def test_statuses_have_names(status: int, body: object, reason: str) -> None:
    found = read(status, body)
    assert isinstance(found, Refused)
    assert found.reason == reason
    assert f"HTTP {status}" in found.text


def test_something_else_lives_there() -> None:
    found = read_sync_answer(Answer(status=200, headers={}, body=b"hello"), url=URL)
    assert isinstance(found, Refused)
    assert found.reason == "not_sdk"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("outbound_unreachable", "unreachable"),
        ("outbound_timeout", "unreachable"),
        ("outbound_url_invalid", "unsupported_protocol"),
        ("outbound_address_refused", "address_refused"),
    ],
)
def test_no_answer_has_a_name(code: str, reason: str) -> None:
    found = refused_by_network(OutboundError("why", code=code))
    assert found == Refused(reason=reason, text="why")
