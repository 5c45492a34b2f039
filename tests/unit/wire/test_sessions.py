"""Sessions: what an event keeps of its `meta`."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.errors import WireError
from stepwell.wire.json import decode
from stepwell.wire.sessions import session_meta


def kept(meta: Any) -> Any:
    raw = session_meta(meta)
    return None if raw is None else decode(raw)


@pytest.mark.parametrize(
    ("meta", "sessions"),
    [
        ({"sessions": {"chat": "c-1"}}, {"chat": "c-1"}),
        ({"sessions": {"order": 7, "rate": 1.5}}, {"order": "7", "rate": "1.5"}),
        ({"propagated_sessions": {"b": "2", "a": "1"}}, {"a": "1", "b": "2"}),
        ({"sessions": {"a": "own"}, "propagated_sessions": {"a": "theirs"}}, {"a": "own"}),
        ({"sessions": {"a": None}, "propagated_sessions": {"a": "1", "b": "2"}}, {"b": "2"}),
        (
            {
                "sessions": {"z": "1", "y": "2", "x": "3"},
                "propagated_sessions": {"c": "6", "b": "5", "a": "4"},
            },
            {"z": "1", "y": "2", "x": "3", "a": "4", "b": "5"},
        ),
        ({"sessions": {}, "propagated_sessions": {"a": "1"}}, {"a": "1"}),
        ({"sessions": {"é" * 64: "x" * 512}}, {"é" * 64: "x" * 512}),
        ({"sessions": {"a": "1"}, "other": [1]}, {"a": "1"}),
        ({"sessions": dict.fromkeys("abcde", "1")}, dict.fromkeys("abcde", "1")),
        ({"sessions": dict.fromkeys("abcde", "1") | {"f": None}}, dict.fromkeys("abcde", "1")),
    ],
)
def test_sessions_that_are_kept(meta: Any, sessions: dict[str, str]) -> None:
    assert kept(meta) == {"sessions": sessions}


@pytest.mark.parametrize(
    "meta",
    [
        None,
        {},
        {"other": 1},
        {"sessions": {}},
        {"sessions": {"a": None}},
        {"sessions": None, "propagated_sessions": {"a": "1"}},
        {"propagated_sessions": None},
    ],
)
def test_nothing_to_keep(meta: Any) -> None:
    assert kept(meta) is None


@pytest.mark.parametrize(
    "meta",
    [
        [],
        "x",
        {"sessions": []},
        {"sessions": "a"},
        {"sessions": {"a": True}},
        {"sessions": {"a": {}}},
        {"sessions": {"a": []}},
        {"sessions": {"a": ""}},
        {"sessions": {"": "a"}},
        {"sessions": {"k" * 129: "a"}},
        {"sessions": {"é" * 65: "a"}},
        {"sessions": {"a": "x" * 513}},
        {"sessions": {str(number): "a" for number in range(6)}},
        {"propagated_sessions": [1]},
        {"propagated_sessions": {"a": False}},
    ],
)
def test_sessions_that_are_refused(meta: Any) -> None:
    with pytest.raises(WireError) as caught:
        session_meta(meta)

    assert caught.value.code == "event_invalid"
