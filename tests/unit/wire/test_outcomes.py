"""What a worker's reply means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.wire.connect import Status
from stepwell.wire.outcomes import Ops, Outcome, Raised, Returned, outcome_from_connect

NOW_MS = 1_760_000_000_000
ONE_STEP = b'[{"op":"StepRun","id":"1","data":1}]'


def outcome(
    status: int,
    body: bytes,
    *,
    no_retry: bool = False,
    retry_after: str | None = None,
    request_version: int = 2,
) -> Outcome:
    return outcome_from_connect(
        status=status,
        body=body,
        no_retry=no_retry,
        retry_after=retry_after,
        request_version=request_version,
        now_ms=NOW_MS,
    )


def raised(status: int, body: bytes, **fields: Any) -> Raised:
    found = outcome(status, body, **fields)
    assert isinstance(found, Raised)
    return found


@pytest.mark.parametrize(
    ("body", "output"),
    [
        (b'{"done": true}', b'{"done": true}'),
        (b"9007199254740993", b"9007199254740993"),
        (b'"text"', b'"text"'),
        (b"", b"null"),
        (b"null", b"null"),
        (b"plain text", b'"plain text"'),
        (b'he said "hi"', rb'"he said \"hi\""'),
        (b"1e400", b'"1e400"'),
        (b"NaN", b'"NaN"'),
        (b"\xff", '"�"'.encode()),
        (rb'"{\"a\":1}"', rb'"{\"a\":1}"'),
    ],
)
def test_done_returns_one_json_value(body: bytes, output: bytes) -> None:
    assert outcome(Status.DONE, body) == Returned(output=output)


def test_done_with_a_json_bomb_is_text() -> None:
    found = outcome(Status.DONE, b"[" * 300 + b"]" * 300)

    assert isinstance(found, Returned)
    assert json.loads(found.output) == "[" * 300 + "]" * 300


def test_done_that_forbids_a_retry_is_a_failure() -> None:
    body = b'{"name":"E","message":"m","__serialized":true}'

    assert outcome(Status.DONE, body, no_retry=True) == Raised(
        error=body, no_retry=True, retry_at_ms=None
    )


def test_done_that_delays_a_retry_is_a_failure() -> None:
    assert raised(Status.DONE, b"{}", retry_after="5").retry_at_ms == NOW_MS + 5_000


def test_not_completed_reports_steps() -> None:
    found = outcome(Status.NOT_COMPLETED, ONE_STEP, no_retry=True, retry_after="3")

    assert isinstance(found, Ops)
    assert [op.id for op in found.ops] == ["1"]
    assert found.no_retry
    assert found.retry_at_ms == NOW_MS + 3_000
    assert found.version == 2


def test_not_completed_with_nothing_new() -> None:
    assert outcome(Status.NOT_COMPLETED, b"[]", request_version=0) == Ops(
        ops=(), no_retry=False, retry_at_ms=None, version=0
    )


@pytest.mark.parametrize("body", [b"", b"x", b"1", b"[1]", b'[{"op":"Sleep"}]', b"[" * 1_000_000])
@pytest.mark.parametrize("no_retry", [True, False])
def test_not_completed_that_cannot_be_read_is_a_failed_attempt(body: bytes, no_retry: bool) -> None:
    found = raised(Status.NOT_COMPLETED, body, no_retry=no_retry)

    assert not found.fatal
    assert found.no_retry is no_retry
    assert json.loads(found.error)["name"] == "ops_invalid"


def test_too_many_operations_fail_the_run() -> None:
    body = b"[" + b",".join([ONE_STEP[1:-1]] * 1_001) + b"]"

    found = raised(Status.NOT_COMPLETED, body, retry_after="5")

    assert (found.fatal, found.no_retry, found.retry_at_ms) == (True, True, None)
    assert json.loads(found.error)["name"] == "InngestErrFunctionOverflowed"


def test_too_large_a_step_fails_the_run_and_is_named() -> None:
    body = b'[{"op":"StepRun","id":"1","name":"all","data":"%b"}]' % (b"x" * 4 * 2**20)

    found = raised(Status.NOT_COMPLETED, body)

    assert found.fatal
    assert json.loads(found.error)["name"] == "step_output_too_large"
    assert "'all'" in json.loads(found.error)["message"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"name":"E","message":"m","stack":"s"}', {"name": "E", "message": "m", "stack": "s"}),
        (b"{}", {}),
        (b"error calling function: no", {"name": "Error", "message": "error calling function: no"}),
        (b'"text"', {"name": "Error", "message": "text"}),
        (b"[1]", {"name": "Error", "message": "[1]"}),
        (b"null", {"name": "Error", "message": "null"}),
        (b"", {"name": "Error", "message": ""}),
        (b'{"n":1e400}', {"name": "Error", "message": '{"n":1e400}'}),
        (b"\xff\xfe", {"name": "Error", "message": "��"}),
        (rb'{"message":"\ud83d"}', {"message": "�"}),
    ],
)
def test_error_is_always_an_object(body: bytes, error: dict[str, Any]) -> None:
    found = raised(Status.ERROR, body)

    assert json.loads(found.error) == error
    assert (found.no_retry, found.retry_at_ms, found.fatal) == (False, None, False)


@pytest.mark.parametrize("status", [3, 100, -1, 2**31 - 1])
def test_a_status_that_is_not_known_is_an_error(status: int) -> None:
    assert isinstance(outcome(status, b"{}"), Raised)


@pytest.mark.parametrize("retry_after", ["", "soon", "0"])
def test_retry_after_that_cannot_be_read_is_none(retry_after: str) -> None:
    assert raised(Status.ERROR, b"{}", retry_after=retry_after).retry_at_ms is None
    assert isinstance(outcome(Status.DONE, b"1", retry_after=retry_after), Returned)
