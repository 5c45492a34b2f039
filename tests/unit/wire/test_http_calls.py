from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.errors import OutboundError, WireError
from stepwell.wire.http_calls import (
    Answer,
    call_headers,
    outcome_from_http,
    outcome_of_no_answer,
    outcome_of_unsendable,
)
from stepwell.wire.outcomes import Ops, Outcome, Raised, Returned

NOW_MS = 1_760_000_000_000
SDK = {"x-inngest-sdk": "inngest-py:v0.5.19"}
STEP = {"op": "StepRun", "id": "b2ae", "name": "a", "data": 1}


def outcome(status: int, body: object = b"", **headers: str) -> Outcome:
    """What an SDK's answer came to. Underscores in names of headers are hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = Answer(status=status, headers={**SDK, **named}, body=raw)
    return outcome_from_http(answer, now_ms=NOW_MS)


def raised(status: int, body: object = b"", **headers: str) -> tuple[Raised, dict[str, Any]]:
    found = outcome(status, body, **headers)
    assert isinstance(found, Raised)
    return found, json.loads(found.error)


@pytest.mark.parametrize(
    ("body", "output"),
    [
        (b'{"a": 1}', b'{"a": 1}'),
        (b"null", b"null"),
        (b"", b"null"),
        (b"not json", b'"not json"'),
        (b'"text"', b'"text"'),
        (rb'"{\"a\": 1}"', b'{"a": 1}'),
        (rb'"{\"a\": "', rb'"{\"a\": "'),
        (b'"[1]"', b'"[1]"'),
        (b"12345678901234567890", b"12345678901234567890"),
    ],
)
def test_a_success_is_the_result(body: bytes, output: bytes) -> None:
    assert outcome(200, body) == Returned(output=output)
    assert outcome(204, body) == Returned(output=output)


@pytest.mark.parametrize("body", [[STEP], STEP])
def test_operations_come_as_an_array_or_alone(body: object) -> None:
    found = outcome(206, body, x_inngest_req_version="2")
    assert isinstance(found, Ops)
    assert ([op.id for op in found.ops], found.version) == (["b2ae"], 2)


def test_no_operations_are_no_failure() -> None:
    assert outcome(206, []) == Ops(ops=(), no_retry=False, retry_at_ms=None, version=0)


@pytest.mark.parametrize("body", [b"", b"<html>", b'"x"', b"1", b'[{"op":"StepRun"'])
def test_what_is_no_operation_is_a_failed_attempt(body: bytes) -> None:
    found, _ = raised(206, body)
    assert (found.no_retry, found.fatal) == (False, False)


def test_too_many_operations_fail_the_run() -> None:
    ops = [{**STEP, "id": f"{n:04}"} for n in range(1_001)]
    found, error = raised(206, ops)
    assert found.fatal
    assert error["name"] == "InngestErrFunctionOverflowed"


@pytest.mark.parametrize("version", ["two", "-1", "", "9999", "2.0"])
def test_a_version_that_is_none_settles_nothing(version: str) -> None:
    found = outcome(206, [STEP], x_inngest_req_version=version)
    assert isinstance(found, Ops)
    assert found.version == 0


@pytest.mark.parametrize("status", [200, 206])
def test_without_an_sdk_a_success_is_a_failed_attempt(status: int) -> None:
    answer = Answer(status=status, headers={}, body=b"[]")
    found = outcome_from_http(answer, now_ms=NOW_MS)
    assert isinstance(found, Raised)
    assert json.loads(found.error)["name"] == "not_sdk"
    assert not found.no_retry


@pytest.mark.parametrize("status", [400, 404, 410, 500, 503])
@pytest.mark.parametrize(("header", "final"), [("true", True), ("false", False), ("yes", False)])
def test_only_the_header_forbids_a_retry(status: int, header: str, final: bool) -> None:
    body = {"name": "ValueError", "message": "no", "stack": "s"}
    found, error = raised(status, body, x_inngest_no_retry=header)
    assert found.no_retry is final
    assert error == body


@pytest.mark.parametrize(
    ("text", "delay_ms"),
    [
        ("3", 3_000),
        ("172800", 86_400_000),
        ("2025-10-09T08:53:30.500Z", 10_500),
        ("Thu, 09 Oct 2025 08:53:30 GMT", 10_000),
        ("soon", None),
    ],
)
def test_the_answer_may_say_when(text: str, delay_ms: int | None) -> None:
    found, _ = raised(500, {"message": "later"}, retry_after=text)
    assert found.retry_at_ms == (None if delay_ms is None else NOW_MS + delay_ms)


def test_a_success_that_forbids_a_retry_is_a_failure() -> None:
    found, error = raised(200, {"message": "no"}, x_inngest_no_retry="true")
    assert (found.no_retry, error) == (True, {"message": "no"})


@pytest.mark.parametrize("body", [b"oops", b'"oops"'])
def test_an_error_that_is_no_object_becomes_one(body: bytes) -> None:
    _, error = raised(500, body)
    assert error == {"name": "Error", "message": "oops"}


def test_a_page_in_front_of_the_app_is_told_from_the_app() -> None:
    answer = Answer(
        status=404, headers={"content-type": "text/html"}, body=b"<h1>none</h1>" + b"x" * 10_000
    )
    found = outcome_from_http(answer, now_ms=NOW_MS)
    assert isinstance(found, Raised)
    error = json.loads(found.error)
    assert error["name"] == "Server returned a fatal error"
    assert error["message"] == "Your server returned HTTP 404 before the SDK responded."
    assert error["error"] == error["message"]
    _, _, excerpt = error["stack"].partition("\n\nUpstream response (text/html):\n")
    assert excerpt.startswith("<h1>none</h1>")
    assert len(excerpt) == 8_192
    assert not found.no_retry


def test_a_refused_signature_is_named() -> None:
    answer = Answer(
        status=401, headers={"x-inngest-sdk-handled": "true"}, body=b'{"message":"Unauthorized"}'
    )
    found = outcome_from_http(answer, now_ms=NOW_MS)
    assert isinstance(found, Raised)
    error = json.loads(found.error)
    assert (error["name"], error["error"]) == ("unauthorized", "invalid status code: 401")
    assert "same signing key" in error["message"]


# --- streamed answers ---


def test_a_streamed_answer_is_the_one_inside() -> None:
    envelope = {"status": 206, "body": [STEP], "headers": {"X-Inngest-Req-Version": 2}}
    found = outcome(201, b"   " + json.dumps(envelope).encode())
    assert isinstance(found, Ops)
    assert found.version == 2


def test_the_body_of_a_streamed_answer_may_be_a_text() -> None:
    envelope = {"status": 200, "body": json.dumps({"a": "é"})}
    assert outcome(201, json.dumps(envelope).encode()) == Returned(output=b'{"a": "\\u00e9"}')


def test_headers_of_a_streamed_answer_count() -> None:
    envelope = {"status": 400, "body": {"message": "no"}, "headers": {"x-inngest-no-retry": True}}
    found, error = raised(201, b" " + json.dumps(envelope).encode())
    assert (found.no_retry, error) == (True, {"message": "no"})


@pytest.mark.parametrize("body", [b"   ", b"{", b"[]", b'{"body": 1}', b'{"status": "200"}'])
def test_a_stream_that_ends_too_early_is_a_failed_attempt(body: bytes) -> None:
    found, error = raised(201, body)
    assert (found.no_retry, error["name"]) == (False, "stream_invalid")


# --- no answer ---


def test_no_answer_says_why() -> None:
    found = outcome_of_no_answer(OutboundError("http://a cannot be reached: connection refused"))
    error = json.loads(found.error)
    assert error["name"] == "http_unreachable"
    assert error["message"] == (
        "Unable to reach SDK URL: http://a cannot be reached: connection refused"
    )
    assert (found.no_retry, found.fatal) == (False, False)


def test_an_answer_that_is_too_large_has_a_name_of_its_own() -> None:
    found = outcome_of_no_answer(OutboundError("larger", code="outbound_too_large"))
    error = json.loads(found.error)
    assert error["name"] == "output_too_large"
    assert error["error"] == "output_too_large: larger"
    assert error["message"] == "Your function's response body exceeds the maximum size limit"
    assert not found.no_retry


def test_a_call_that_cannot_be_written_is_final() -> None:
    assert outcome_of_unsendable(WireError("a number")).fatal


# --- the request ---


def test_headers_of_a_call() -> None:
    given = {"run_id": "r", "step_id": "step", "version": -1, "request_id": "q", "job_id": "j"}
    headers = call_headers(**given, generation=0)  # type: ignore[arg-type]  # mixed values
    assert headers["X-Inngest-Req-Version"] == "-1"
    assert headers["X-Run-ID"] == "r"
    assert "X-Inngest-Generation-ID" not in headers
    again = call_headers(**given, generation=2)  # type: ignore[arg-type]  # mixed values
    assert again["X-Inngest-Generation-ID"] == "2"
