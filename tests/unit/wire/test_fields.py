"""Keys in any letter case, and peers' texts in messages."""

from __future__ import annotations

import pytest

from stepwell.wire.fields import FieldNames, without_nulls
from stepwell.wire.quoting import quoted, shortened

NAMES = FieldNames(("appName", "url"))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"appName": 1}, {"appName": 1}),
        ({"appname": 1, "URL": 2}, {"appName": 1, "url": 2}),
        ({"other": 1}, {}),
        ({"appname": 1, "appName": 2}, {"appName": 2}),
        ({"appName": 2, "appname": 1}, {"appName": 2}),
        ({"APPNAME": 1, "appname": 2}, {"appName": 1}),
    ],
)
def test_spell(given: dict[str, int], found: dict[str, int]) -> None:
    assert NAMES.spell(given) == found


def test_respell_keeps_unknown_keys_as_they_are() -> None:
    assert NAMES.respell({"APPNAME": 1, "Other": 2}) == {"appName": 1, "Other": 2}


def test_without_nulls_keeps_what_is_only_empty() -> None:
    assert without_nulls({"a": None, "b": 0, "c": ""}) == {"b": 0, "c": ""}


def test_texts_of_peers_are_one_short_line() -> None:
    assert quoted("a\nb") == r"'a\nb'"
    assert quoted("x" * 1_000) == "'" + "x" * 77 + "...'"
    assert shortened("x" * 80) == "x" * 80
