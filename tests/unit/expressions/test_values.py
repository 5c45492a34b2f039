"""Values: how they come out of an event, and what is true of each."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stepwell.expressions.faults import EvaluationError
from stepwell.expressions.times import Duration, Timestamp
from stepwell.expressions.values import (
    MISSING,
    TYPES,
    MapValue,
    Uint,
    is_truthy,
    key_text,
    keys,
    loaded,
    map_key,
    number_text,
    type_of,
    whole,
)


def test_only_numbers_change_when_they_come_out_of_an_event() -> None:
    assert type(loaded(6)) is float
    assert loaded(True) is True
    assert loaded(10**400) == math.inf
    assert loaded(-(10**400)) == -math.inf
    for value in ("a", 5.5, None, MISSING, [1], {"a": 1}):
        assert loaded(value) is value


@pytest.mark.parametrize("value", [MISSING, None, False, "", 0, 0.0, Uint(0)])
def test_false(value: Any) -> None:
    assert not is_truthy(value)


@pytest.mark.parametrize(
    "value", [True, "a", 1, -1.5, Uint(1), [], {}, (), MapValue(), Timestamp(0), b"", TYPES["int"]]
)
def test_true(value: Any) -> None:
    assert is_truthy(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (MISSING, "missing"),
        (None, "null_type"),
        (True, "bool"),
        (1, "int"),
        (Uint(1), "uint"),
        (1.0, "double"),
        ((), "list"),
        ([], "list"),
        (MapValue(), "map"),
        ({}, "map"),
        (Duration(1), "google.protobuf.Duration"),
    ],
)
def test_the_name_of_the_type(value: Any, name: str) -> None:
    assert type_of(value) == name


def test_keys_of_maps_keep_numbers_and_bools_apart() -> None:
    assert map_key(1) == map_key(1.0) == map_key(Uint(1))
    made = {map_key(each): each for each in (1, True, 0, False, "1", 1.5)}
    assert list(keys(made)) == [1, True, 0, False, "1", 1.5]
    with pytest.raises(EvaluationError):
        map_key(None)


def test_whole_numbers() -> None:
    assert [whole(each) for each in (6, 6.0, Uint(6), 6.5, math.inf, True, "6", None)] == [
        *(6, 6, 6),
        *(None,) * 5,
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (6, "6"),
        (6.0, "6"),
        (-0.0, "0"),
        (5.5, "5.5"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (5e-7, "5e-07"),
        (Uint(7), "7"),
        (math.inf, "inf"),
    ],
)
def test_a_number_as_text(number: float, text: str) -> None:
    assert number_text(number) == text


def test_a_key_tells_missing_from_null() -> None:
    assert (key_text(MISSING), key_text(None), key_text(False)) == (None, "null", "false")
