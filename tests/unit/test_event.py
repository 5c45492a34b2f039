"""Events, as they are sent and as calls bring them."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from stepwell.errors import StepwellError
from stepwell.event import Event, read_event, write_events


def test_only_what_is_set_is_sent() -> None:
    body = write_events(
        [
            Event(name="plain"),
            Event(name="full", data={"at": datetime(2026, 1, 2, tzinfo=UTC)}, id="i", ts=5, v="2"),
            Event(name="user", user={"id": 1}),
        ]
    )

    assert msgspec.json.decode(body) == [
        {"name": "plain", "data": {}},
        {"name": "full", "data": {"at": "2026-01-02T00:00:00Z"}, "id": "i", "ts": 5, "v": "2"},
        {"name": "user", "data": {}, "user": {"id": 1}},
    ]


def test_data_without_json_form_is_refused() -> None:
    with pytest.raises(StepwellError, match="cannot be written as JSON"):
        write_events([Event(name="e", data={"x": object()})])


@pytest.mark.parametrize(
    ("raw", "event"),
    [
        (
            b'{"name":"e","data":{"a":1},"id":"i","ts":7,"user":{},"v":"1","meta":{"x":1}}',
            Event(name="e", data={"a": 1}, id="i", ts=7, v="1"),
        ),
        (b'{"name":"e","data":null,"user":null,"v":null,"ts":3}', Event(name="e", ts=3)),
        (b'{"name":"e"}', Event(name="e")),
    ],
)
def test_event_of_a_call_is_read(raw: bytes, event: Event) -> None:
    assert read_event(raw) == event


@pytest.mark.parametrize("raw", [b"[]", b"null", b'{"data":{}}', b'{"name":5}', b"{"])
def test_something_else_is_no_event(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_event(raw)
