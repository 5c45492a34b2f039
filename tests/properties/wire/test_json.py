"""JSON holds for any value, and nesting is measured rightly."""

from __future__ import annotations

import json as stdlib_json

from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.wire import json
from tests.properties.wire.json_strategies import (
    TEXT,
    hostile_bodies,
    json_values,
    value_unless_refused,
)


@settings(deadline=None)
@given(json_values())
def test_what_is_written_reads_back(value: object) -> None:
    assert json.decode(json.encode(value)) == value


@settings(deadline=None)
@given(json_values(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT))
def test_the_canonical_form_means_the_same_and_stays(value: object) -> None:
    form = json.canonical(json.encode(value))

    assert json.decode(form) == value
    assert json.canonical(form) == form


@settings(deadline=None)
@given(st.text(st.characters() | st.characters(categories=["Cs"]), max_size=60))
def test_escaped_text_is_read_whatever_it_holds(text: str) -> None:
    escaped = stdlib_json.dumps(text).encode()
    # The standard library joins whole pairs; what is left of surrogates are halves.
    joined = stdlib_json.loads(escaped)
    expected = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in joined)

    assert json.decode(escaped) == expected


@settings(deadline=None)
@given(hostile_bodies({"a": ["x", {"b": 1.5}]}))
def test_reading_raises_nothing_else(raw: bytes) -> None:
    text = value_unless_refused(lambda: json.readable(raw), "invalid_json")

    assert text is None or json.decode(text) == json.decode(raw)


@settings(deadline=None)
@given(st.text('[]{}"\\a,', max_size=40), st.integers(1, 400))
def test_depth_counts_no_bracket_inside_a_text(noise: str, depth: int) -> None:
    inner = stdlib_json.dumps([noise, noise + "[" * 300])
    raw = ("[" * depth + inner + "]" * depth).encode()

    text = value_unless_refused(lambda: json.readable(raw), "invalid_json")

    assert text == (raw if depth + 1 <= json.DEPTH_MAX else None)
