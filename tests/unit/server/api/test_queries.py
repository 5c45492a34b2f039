"""Query parameters are read strictly."""

from __future__ import annotations

import pytest
from starlette.datastructures import QueryParams

from stepwell.errors import WireError
from stepwell.server.api import queries

MS = 1_787_220_000_000  # 2026-08-20T10:00:00Z


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-08-20T10:00:00Z", MS),
        ("2026-08-20T10:00:00", MS),
        ("2026-08-20T12:00:00+02:00", MS),
        ("2026-08-20T12:00:00 02:00", MS),  # a plus sign that nobody escaped
        ("2026-08-20T10:00:00.250Z", MS + 250),
        ("2026-08-20", MS - 36_000_000),
        ("Thu, 20 Aug 2026 10:00:00 GMT", MS),
        (str(MS), MS),
        (str(MS // 1000), MS),
        ("1787220000.5", MS + 500),
        ("0", 0),
        ("-1", 0),
        ("999999999999999", 2**48 - 1),
        (" ", None),
        ("", None),
    ],
)
def test_instants(text: str, ms: int | None) -> None:
    assert queries.instant_ms(QueryParams({"from": text}), "from") == ms


def test_an_absent_instant_is_none() -> None:
    assert queries.instant_ms(QueryParams(), "from") is None


@pytest.mark.parametrize(
    "text", ["soon", "2026-13-01", "2026-08-20T25:00:00Z", "1e999", "٣", "0x10"]
)
def test_what_is_no_instant_is_a_400_that_names_the_parameter(text: str) -> None:
    with pytest.raises(WireError, match="Invalid from query parameter") as caught:
        queries.instant_ms(QueryParams({"from": text}), "from")
    assert (caught.value.status, caught.value.code) == (400, "invalid_field_format")


@pytest.mark.parametrize(
    ("text", "limit"),
    [("", 20), ("0", 20), ("x", 20), ("-1", 20), ("1", 1), ("51", 51), ("52", 51), ("9" * 30, 20),
     ("٣", 20)],
)  # fmt: skip
def test_limits(text: str, limit: int) -> None:
    assert queries.limit(QueryParams({"limit": text}), default=20, most=51) == limit


@pytest.mark.parametrize("text", ["nope", "01J", "é" * 26, "8" * 26])
def test_ids_and_cursors_must_be_ulids(text: str) -> None:
    with pytest.raises(WireError, match="Invalid run ID"):
        queries.run_id(text)
    with pytest.raises(WireError, match="Invalid event ID"):
        queries.event_id(text)
    with pytest.raises(WireError, match="Invalid cursor query parameter"):
        queries.cursor(QueryParams({"cursor": text}))


def test_flags() -> None:
    assert queries.flag(QueryParams({"all": "TRUE"}), "all")
    assert not queries.flag(QueryParams(), "all")
    with pytest.raises(WireError, match="all must be true or false"):
        queries.flag(QueryParams({"all": "yes"}), "all")
