"""Identifiers: vectors, and texts that are none."""

from __future__ import annotations

import pytest

from stepwell.errors import WireError
from stepwell.wire import ids


@pytest.mark.parametrize(
    ("step_id", "index", "hashed"),
    [
        ("charge-card", 0, "b2ae8f272ea660900fca3aeefbd39695c43f5cc9"),
        ("charge-card", 1, "c1282eee8cbd39a5067abd7a6dedfc16197a3110"),
        ("charge-card", 2, "7738df700f333e0e882a96fe2e33949ba30b5981"),
        ("complete", 0, ids.RUN_COMPLETE_STEP),
    ],
)
def test_step_hash(step_id: str, index: int, hashed: str) -> None:
    assert ids.hash_step_id(step_id, index) == hashed


def test_run_complete_step_is_the_one_of_the_protocol() -> None:
    assert ids.RUN_COMPLETE_STEP == "0737c22d3bfae812339732d14d8c7dbd6dc4e09c"


def test_ulid_text() -> None:
    raw = ids.ulid_bytes(1_469_918_176_385, bytes(10))

    assert ids.ulid_text(raw) == "01ARYZ6S410000000000000000"
    assert ids.parse_ulid("01aryz6s410000000000000000") == raw
    assert ids.ulid_ms(raw) == 1_469_918_176_385


def test_largest_ulid() -> None:
    assert ids.parse_ulid("7ZZZZZZZZZZZZZZZZZZZZZZZZZ") == b"\xff" * 16


@pytest.mark.parametrize(
    "text",
    [
        "",
        "01ARYZ6S41000000000000000",
        "01ARYZ6S4100000000000000000",
        "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "01ARYZ6S41000000000000000I",
        "01ARYZ6S41000000000000000L",
        "01ARYZ6S41000000000000000U",
        "01ARYZ6S41000000000000000\u0660",
        "0000000000000000000000000\u00df",
    ],
)
def test_what_is_no_ulid_is_refused(text: str) -> None:
    with pytest.raises(WireError) as caught:
        ids.parse_ulid(text)

    assert caught.value.code == "invalid_ulid"


def test_app_and_function_ids_are_stable() -> None:
    assert ids.app_uuid("shop") == "a8fd5300-06f2-541e-8b69-ded0c0c7c233"
    assert ids.function_uuid("shop", "shop-ship") != ids.function_uuid("shop2", "shop-ship")
