"""What events say of a run that has ended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.wire.lifecycle import error_object, finished_data

EVENT = b'{"data":{"total":12},"id":"01","name":"order/paid","ts":1760000000000,"user":{}}'


@pytest.mark.parametrize(
    ("output", "error"),
    [
        (
            b'{"name":"CardError","message":"declined","stack":"at x","code":"c"}',
            {"name": "CardError", "message": "declined", "stack": "at x"},
        ),
        (
            b'{"name":"E","message":"m","cause":{"name":"F","n":1.0},"stack":null}',
            {"name": "E", "message": "m", "cause": {"name": "F", "n": 1.0}},
        ),
        (b'{"message":"m","cause":null}', {"name": "Error", "message": "m"}),
        (b'{"name":"","message":""}', {"name": "Error", "message": ""}),
        (b'{"name":1,"message":2,"stack":[]}', None),
        (b'"text"', {"name": "Error", "message": "text"}),
        (b"[1]", {"name": "Error", "message": "[1]"}),
        (b"not json", {"name": "Error", "message": "not json"}),
        (b"\xff", {"name": "Error", "message": "�"}),
        (b'{"name":"E","message":1e400}', {"name": "E", "message": '{"name":"E","message":1e400}'}),
    ],
)
def test_error_object(output: bytes, error: dict[str, Any] | None) -> None:
    expected = error or {"name": "Error", "message": output.decode()}

    assert json.loads(error_object(output, "invalid status code: 500")) == {
        "error": "invalid status code: 500",
        **expected,
    }


def test_an_error_of_the_servers_own_keeps_its_text() -> None:
    output = (
        b'{"error":"InngestErrTimeoutTooLong: m","name":"InngestErrTimeoutTooLong","message":"m"}'
    )

    assert json.loads(error_object(output, "invalid status code: 500"))["error"] == (
        "InngestErrTimeoutTooLong: m"
    )


def test_a_huge_output_without_a_message_is_not_repeated_in_full() -> None:
    fits = b"[%b]" % (b"1," * 4_094 + b"12")
    assert len(fits) == 8_192

    assert json.loads(error_object(fits, "e"))["message"] == fits.decode()
    assert json.loads(error_object(fits + b" ", "e"))["message"] == fits.decode() + "..."


def test_data_of_a_failed_run() -> None:
    assert finished_data(
        function_slug="shop-ship",
        run_id="01K7T0BZZZ0000000000000000",
        status="Failed",
        event=EVENT,
        events=[EVENT],
        result=b'{"message": "no"}',
        error=b'{"error":"e"}',
    ) == (
        b'{"_inngest":{"status":"Failed"},"error":{"error":"e"},"event":'
        + EVENT
        + b',"events":['
        + EVENT
        + b'],"function_id":"shop-ship","result":{"message": "no"},'
        b'"run_id":"01K7T0BZZZ0000000000000000"}'
    )


def test_data_of_a_cancelled_run_has_neither_error_nor_result() -> None:
    data = finished_data(
        function_slug='a"b',
        run_id="01",
        status="Cancelled",
        event=EVENT,
        events=[EVENT, EVENT],
        result=None,
        error=None,
    )

    assert json.loads(data) == {
        "_inngest": {"status": "Cancelled"},
        "event": json.loads(EVENT),
        "events": [json.loads(EVENT)] * 2,
        "function_id": 'a"b',
        "run_id": "01",
    }
