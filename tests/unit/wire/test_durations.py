"""Durations and instants as texts."""

from __future__ import annotations

import pytest

from stepwell.errors import ConfigError, WireError
from stepwell.wire.durations import (
    format_duration,
    format_iso_ms,
    parse_duration_ms,
    parse_instant_ms,
    retry_at_ms,
    sleep_until_ms,
)

S = 1_000
M = 60 * S
H = 60 * M
D = 24 * H
NOW_MS = 1_760_000_000_000  # 2025-10-09T08:53:20Z


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1s", S),
        ("90m", 90 * M),
        ("1.5h", 90 * M),
        ("1w2d", 9 * D),
        ("1d", D),
        ("1h30m10s", H + 30 * M + 10 * S),
        ("250ms", 250),
        ("1500us", 1),
        ("1000000us", S),
        ("1000000µs", S),
        ("1000000\u03bcs", S),
        ("1000000ms", 1000 * S),
        ("1000000000000ns", 1000 * S),
        ("1000000000m", 1_000_000_000 * M),
        ("1w", 7 * D),
        ("0" * 99 + "s", 0),
        ("9007199254740992ms", 2**53),
        ("1500µs", 1),
        ("1500\u03bcs", 1),
        ("999999ns", 0),
        (".5s", 500),
        ("1.s", S),
        ("0", 0),
        ("0s", 0),
        ("+5s", 5 * S),
        ("-5s", -5 * S),
        ("0.1s", 100),
        ("1.1h", 3_960_000),
    ],
)
def test_duration_is_read(text: str, ms: int) -> None:
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "5x",
        "5 s",
        " 5s",
        "5s ",
        "5s\n",
        ".s",
        "1..5s",
        "1.5.5s",
        "--5s",
        "5M",
        "1e3s",
        "٥s",
        "forever",
        "0" * 100 + "s",
        "9007199254740993ms",
        "9" * 90 + "w",
        "P1D",
    ],
)
def test_duration_is_refused(text: str) -> None:
    with pytest.raises(WireError) as caught:
        parse_duration_ms(text)

    assert caught.value.code == "duration_invalid"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (1, "1s"),
        (1_000, "1s"),
        (1_001, "2s"),
        (90 * M, "1h30m"),
        (9 * D, "1w2d"),
        (366 * D, "52w2d"),
        (H + 5 * S, "1h5s"),
    ],
)
def test_duration_is_written(ms: int, text: str) -> None:
    assert format_duration(ms) == text


def test_negative_duration_is_the_programs_mistake() -> None:
    with pytest.raises(ConfigError) as caught:
        format_duration(-1)

    assert caught.value.code == "duration_invalid"


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2025-10-09T08:53:20Z", NOW_MS),
        ("2025-10-09t08:53:20z", NOW_MS),
        ("2025-10-09T08:53:20", NOW_MS),
        ("2025-10-09 08:53:20", NOW_MS),
        ("2025-10-09T08:53:20.123Z", NOW_MS + 123),
        ("2025-10-09T08:53:20.123456789Z", NOW_MS + 123),
        ("2025-10-09T08:53:20.1Z", NOW_MS + 100),
        ("2025-10-09T08:53:20,5Z", NOW_MS + 500),
        ("2025-10-09T10:53:20+02:00", NOW_MS),
        ("2025-10-09T10:53:20+0200", NOW_MS),
        ("2025-10-09T03:23:20-05:30", NOW_MS),
        ("2025-10-10T08:52:20+23:59", NOW_MS),
        ("01 Jan 69 00:00 GMT", -365 * D),
        ("31 Dec 68 00:00 GMT", 3_124_137_600_000),
        ("2025-10-09T08:53:20." + "1" * 79 + "Z", NOW_MS + 111),
        ("2025-10-09T08:53Z", NOW_MS - 20 * S),
        ("2025-10-09", NOW_MS - 8 * H - 53 * M - 20 * S),
        ("Thu, 09 Oct 2025 08:53:20 GMT", NOW_MS),
        ("Thu, 09 Oct 2025 10:53:20 +0200", NOW_MS),
        ("Thu, 9 Oct 2025 08:53:20 UTC", NOW_MS),
        ("09 Oct 25 08:53 GMT", NOW_MS - 20 * S),
        ("Thursday, 09-Oct-25 08:53:20 GMT", NOW_MS),
        ("Thu Oct  9 08:53:20 2025", NOW_MS),
        ("Thu Oct 09 08:53:20 UTC 2025", NOW_MS),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777_000),
        ("1969-12-31T23:59:59Z", -1_000),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("0001-01-01", -62_135_596_800_000),
    ],
)
def test_instant_is_read(text: str, ms: int) -> None:
    assert parse_instant_ms(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2025-13-01",
        "2025-02-31",
        "2025-10-09T25:00:00Z",
        "2025-10-09T08:61:00Z",
        "2025-10-09T08:53:61Z",
        "2025-10-09T08:53:20+24:00",
        "2025-10-09T08:53:20+02:60",
        "0000-01-01",
        "2025-10-09T08:53:20 CEST",
        "Thu, 09 Oct 2025 08:53:20 EST",
        "Thu, 09 Foo 2025 08:53:20 GMT",
        "1760000000000",
        "2025-10-09T",
        "٢٠٢٥-10-09",
        "2025-10-09T08:53:20Z\n",
        "2025-10-09T08:53:20." + "1" * 80 + "Z",
    ],
)
def test_instant_is_refused(text: str) -> None:
    with pytest.raises(WireError) as caught:
        parse_instant_ms(text)

    assert caught.value.code == "instant_invalid"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (NOW_MS + 7, "2025-10-09T08:53:20.007Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (2**48 - 1, "9999-12-31T23:59:59.999Z"),
        (-(2**60), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_instant_is_written(ms: int, text: str) -> None:
    assert format_iso_ms(ms) == text


@pytest.mark.parametrize(
    ("text", "after_ms"),
    [
        ("", 0),
        ("0s", 0),
        ("1h30m", 90 * M),
        ("-1h", 0),
        ("2025-10-09T09:53:20.000Z", H),
        ("2024-01-01T00:00:00Z", 0),
        ("2025-10-10", 15 * H + 6 * M + 40 * S),
        ("1000000000s", 1_000_000_000 * S),  # ten characters, and still a duration
        ("400d", 400 * D),
    ],
)
def test_sleep_ends(text: str, after_ms: int) -> None:
    assert sleep_until_ms(text, NOW_MS) == NOW_MS + after_ms


@pytest.mark.parametrize("text", ["soon", "5", "2025-13-01T00:00:00Z", " ", "x" * 1_000_000])
def test_sleep_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(WireError) as caught:
        sleep_until_ms(text, NOW_MS)

    assert caught.value.code == "duration_invalid"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("text", "after_ms"),
    [
        ("5", 5 * S),
        ("1", S),
        ("9999999", D),
        ("172800", D),
        ("2025-10-09T08:53:23.741Z", 3_741),
        ("2025-10-09T08:53:20.001Z", S),
        ("2020-01-01T00:00:00Z", S),
        ("2030-01-01T00:00:00Z", D),
        ("Thu, 09 Oct 2025 08:54:20 GMT", M),
    ],
)
def test_retry_after_is_clamped(text: str, after_ms: int) -> None:
    assert retry_at_ms(text, NOW_MS) == NOW_MS + after_ms


@pytest.mark.parametrize("text", ["", "0", "-5", "1.5", "soon", "12345678", "²", "5s"])
def test_retry_after_that_cannot_be_read_is_none(text: str) -> None:
    assert retry_at_ms(text, NOW_MS) is None
