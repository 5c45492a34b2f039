"""Values of user code, to JSON and back."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.codec import VALUE_DEPTH_MAX, restore, serialise
from stepwell.errors import StepwellError
from stepwell.wire.json import decode


@dataclass
class Address:
    street: str
    number: int = 1


class Order(msgspec.Struct):
    total: Decimal
    address: Address


class Line(TypedDict):
    sku: str
    count: int


class Colour(enum.Enum):
    RED = "red"


class Model:
    """Looks like a pydantic model, without pydantic."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and other.fields == self.fields

    __hash__ = None  # type: ignore[assignment]

    def model_dump(self, *, mode: str, by_alias: bool) -> dict[str, Any]:
        assert mode == "json"
        assert by_alias
        return self.fields

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        if not isinstance(value, dict):
            raise ValueError("a model is an object")
        return cls(**value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=20,
)


@given(JSON)
def test_json_values_come_back_as_they_were(value: object) -> None:
    assert msgspec.json.decode(serialise(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Address("a"), b'{"street":"a","number":1}'),
        (
            Order(Decimal("1.10"), Address("a")),
            b'{"total":"1.10","address":{"street":"a","number":1}}',
        ),
        (datetime(2026, 1, 2, tzinfo=UTC), b'"2026-01-02T00:00:00Z"'),
        (date(2026, 1, 2), b'"2026-01-02"'),
        (uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        (Colour.RED, b'"red"'),
        (b"\x00\x01", b'"AAE="'),
        ((1, 2), b"[1,2]"),
        ({3}, b"[3]"),
        ({1: "one"}, b'{"1":"one"}'),
        ([Model(a=1), {"deep": Model(b=2)}], b'[{"a":1},{"deep":{"b":2}}]'),
    ],
)
def test_python_values_have_a_json_form(value: object, text: bytes) -> None:
    assert serialise(value) == text


class Unwilling:
    def model_dump(self, *, mode: str, by_alias: bool) -> object:
        raise RuntimeError(f"not in {mode}")


@pytest.mark.parametrize("value", [object(), [lambda: 1], {"deep": {"er": object()}}, Unwilling()])
def test_value_without_json_form_is_refused(value: object) -> None:
    with pytest.raises(StepwellError) as caught:
        serialise(value)

    assert caught.value.code == "output_unserializable"
    assert type(value).__name__ in str(caught.value)


@pytest.mark.parametrize(
    ("value", "output_type", "restored"),
    [
        ({"street": "a"}, Address, Address("a")),
        (
            {"total": "1.10", "address": {"street": "a"}},
            Order,
            Order(Decimal("1.10"), Address("a")),
        ),
        ([{"sku": "s", "count": 2}], list[Line], [{"sku": "s", "count": 2}]),
        ("red", Colour, Colour.RED),
        (None, int | None, None),
        ("2026-01-02T00:00:00Z", datetime, datetime(2026, 1, 2, tzinfo=UTC)),
        ([1, 2], tuple[int, int], (1, 2)),
        ({"a": 1}, Model, Model(a=1)),
        ([{"a": 1}], list[Model], [Model(a=1)]),
        ({"a": [1]}, Any, {"a": [1]}),
    ],
)
def test_value_is_restored_to_its_type(value: Any, output_type: Any, restored: object) -> None:
    assert restore(value, output_type) == restored


@pytest.mark.parametrize(
    ("value", "output_type"),
    [("one", int), ({"number": 1}, Address), ([1], Model), ({}, object.__class__)],
)
def test_value_that_does_not_fit_is_refused(value: Any, output_type: Any) -> None:
    with pytest.raises(StepwellError) as caught:
        restore(value, output_type)

    assert caught.value.code == "output_invalid"


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_value_as_deep_as_a_peer_reads_is_written() -> None:
    assert serialise(nested(VALUE_DEPTH_MAX)).startswith(b"[[[")
    # A call that brings the result of a step back wraps it three times.
    decode(b'{"steps":{"hash":{"data":' + serialise(nested(VALUE_DEPTH_MAX)) + b"}}}")


@pytest.mark.parametrize("depth", [VALUE_DEPTH_MAX + 1, 300, 100_000])
def test_value_that_is_too_deep_is_refused(depth: int) -> None:
    with pytest.raises(StepwellError) as caught:
        serialise(nested(depth))

    assert caught.value.code == "output_unserializable"


class Leaving:
    def model_dump(self, *, mode: str, by_alias: bool) -> object:
        raise SystemExit(mode)


class Unspeakable:
    def model_dump(self, *, mode: str, by_alias: bool) -> object:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError(mode)

        raise Mute


@pytest.mark.parametrize("value", [Leaving(), Unspeakable(), "half \ud83d"])
def test_value_that_does_harm_is_refused(value: object) -> None:
    with pytest.raises(StepwellError) as caught:
        serialise(value)

    assert caught.value.code == "output_unserializable"
