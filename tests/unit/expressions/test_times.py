"""Timestamps and durations."""

from __future__ import annotations

import pytest

from stepwell.expressions.faults import EvaluationError
from stepwell.expressions.times import (
    PARTS_OF_DURATION,
    PARTS_OF_TIMESTAMP,
    Duration,
    Timestamp,
    duration_text,
    parse_date,
    parse_duration,
    parse_span,
    parse_timestamp,
    timestamp_text,
)

S = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "ns", "written"),
    [
        ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"),
        ("1970-01-01t00:00:01.5z", 3 * S // 2, "1970-01-01T00:00:01.5Z"),
        ("1969-12-31T23:59:59.999999999Z", -1, "1969-12-31T23:59:59.999999999Z"),
        ("1970-01-01T02:00:00+02:00", 0, "1970-01-01T00:00:00Z"),
        ("1969-12-31T18:30:00-05:30", 0, "1970-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", 253_402_300_799 * S, "9999-12-31T23:59:59Z"),
        ("0001-01-01T00:00:00Z", -62_135_596_800 * S, "0001-01-01T00:00:00Z"),
    ],
)
def test_a_timestamp(text: str, ns: int, written: str) -> None:
    assert parse_timestamp(text) == Timestamp(ns)
    assert timestamp_text(Timestamp(ns)) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-01",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00.0000000001Z",
        "0001-01-01T00:00:00+01:00",
        "٢٠٢٦-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z" + " " * 100,
    ],
)
def test_no_timestamp(text: str) -> None:
    with pytest.raises(EvaluationError):
        parse_timestamp(text)


@pytest.mark.parametrize(
    ("text", "ns", "written"),
    [
        ("0", 0, "0s"),
        ("1h30m", 5_400 * S, "5400s"),
        ("-1.5s", -3 * S // 2, "-1.5s"),
        ("1ns", 1, "0.000000001s"),
        ("1us", 1_000, "0.000001s"),
        ("1µs1ms", 1_001_000, "0.001001s"),
    ],
)
def test_a_duration(text: str, ns: int, written: str) -> None:
    assert parse_duration(text) == Duration(ns)
    assert duration_text(Duration(ns)) == written
    assert parse_duration(written) == Duration(ns)


@pytest.mark.parametrize("text", ["", "5", "1d", "1h ", "h", "99999999999h", "1" * 200 + "s"])
def test_no_duration(text: str) -> None:
    with pytest.raises(EvaluationError):
        parse_duration(text)


def test_spans_have_days_and_weeks() -> None:
    assert parse_span("1w1d") == Duration(8 * 86_400 * S)
    for text in ("soon", "1000000w"):
        with pytest.raises(EvaluationError):
            parse_span(text)


def test_a_date_may_be_written_in_many_forms() -> None:
    at = parse_timestamp("2025-01-02T03:04:05Z")
    for text in ("2025-01-02T03:04:05Z", "Thu, 02 Jan 2025 03:04:05 GMT", "2025-01-02 03:04:05"):
        assert parse_date(text) == at
    with pytest.raises(EvaluationError):
        parse_date("yesterday, I think")


def test_the_parts_of_a_timestamp() -> None:
    at = parse_timestamp("2024-02-29T23:59:58.123456Z")
    parts = {name: part(at, "UTC") for name, part in PARTS_OF_TIMESTAMP.items()}
    assert parts == {
        "getFullYear": 2024,
        "getMonth": 1,
        "getDate": 29,
        "getDayOfMonth": 28,
        "getDayOfWeek": 4,
        "getDayOfYear": 59,
        "getHours": 23,
        "getMinutes": 59,
        "getSeconds": 58,
        "getMilliseconds": 123,
    }


@pytest.mark.parametrize(
    ("zone", "hour"),
    [("+02:30", 2), ("02:30", 2), ("-08:00", 15), ("Europe/Paris", 0), ("Asia/Tokyo", 8)],
)
def test_a_part_in_a_time_zone(zone: str, hour: int) -> None:
    at = parse_timestamp("2024-01-15T23:59:58Z")
    assert PARTS_OF_TIMESTAMP["getHours"](at, zone) == hour


@pytest.mark.parametrize(
    "zone",
    ["", "Mars/Olympus", "+25:00", "+2", "../../etc/passwd", "/etc/passwd", "a\0b", "Europe"],
)
def test_no_time_zone(zone: str) -> None:
    with pytest.raises(EvaluationError, match="is not a time zone"):
        PARTS_OF_TIMESTAMP["getHours"](Timestamp(0), zone)


def test_a_time_zone_does_not_lead_out_of_the_calendar() -> None:
    with pytest.raises(EvaluationError):
        PARTS_OF_TIMESTAMP["getHours"](parse_timestamp("0001-01-01T00:00:00Z"), "-08:00")


def test_the_parts_of_a_duration() -> None:
    for sign in (1, -1):
        length = Duration(sign * (90 * 60 * S + 1_500_000_000))
        parts = {name: part(length) * sign for name, part in PARTS_OF_DURATION.items()}
        assert parts == {
            "getHours": 1,
            "getMinutes": 90,
            "getSeconds": 5_401,
            "getMilliseconds": 500,
        }
