"""Which instants a cron text names."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from stepwell.engine.cron import Cron, jitter_delay_ms, parse_cron
from stepwell.errors import WireError

MINUTE_MS = 60_000


def ms(text: str) -> int:
    """An instant as ISO with its offset."""
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def shown(at_ms: int | None, zone: str = "UTC") -> str | None:
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).isoformat()


def next_ones(text: str, after: str, count: int, zone: str = "UTC") -> list[str | None]:
    found: list[str | None] = []
    at_ms: int | None = ms(after)
    for _ in range(count):
        assert at_ms is not None
        at_ms = parse_cron(text).next_after(at_ms)
        found.append(shown(at_ms, zone))
    return found


@pytest.mark.parametrize(
    ("text", "after", "first"),
    [
        ("* * * * *", "2026-01-01T00:00:00+00:00", "2026-01-01T00:01:00+00:00"),
        ("* * * * *", "2026-01-01T00:00:59.999+00:00", "2026-01-01T00:01:00+00:00"),
        ("0 9 * * *", "2026-01-01T08:59:59.999+00:00", "2026-01-01T09:00:00+00:00"),
        ("0 9 * * *", "2026-01-01T09:00:00+00:00", "2026-01-02T09:00:00+00:00"),
        ("*/15 * * * *", "2026-01-01T00:16:00+00:00", "2026-01-01T00:30:00+00:00"),
        ("0 9 * * 1-5", "2026-01-02T10:00:00+00:00", "2026-01-05T09:00:00+00:00"),
        ("0 9 * * MON", "2026-01-01T00:00:00+00:00", "2026-01-05T09:00:00+00:00"),
        ("0 0 29 FEB *", "2026-01-01T00:00:00+00:00", "2028-02-29T00:00:00+00:00"),
        ("0,30 8-9 1 1,7 *", "2026-01-01T09:30:00+00:00", "2026-07-01T08:00:00+00:00"),
        ("TZ=Europe/Paris 0 9 * * *", "2026-01-01T00:00:00+00:00", "2026-01-01T08:00:00+00:00"),
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", "2026-01-01T01:00:00+00:00", "2026-01-02T00:00:00+00:00"),
        ("TZ=UTC 0 0 * * 0", "2026-01-01T00:00:00+00:00", "2026-01-04T00:00:00+00:00"),
    ],
)
def test_next_instant(text: str, after: str, first: str) -> None:
    assert next_ones(text, after, 1) == [first]


def test_the_hour_that_is_left_out() -> None:
    """Paris, 29 March 2026: 02:00 is 03:00."""
    text = "TZ=Europe/Paris 30 2 * * *"
    assert next_ones(text, "2026-03-28T00:00:00+00:00", 3, "Europe/Paris") == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_the_hour_that_comes_twice() -> None:
    """Paris, 25 October 2026: 03:00 is 02:00 again."""
    text = "TZ=Europe/Paris 30 2 * * *"
    assert next_ones(text, "2026-10-24T00:00:00+00:00", 3, "Europe/Paris") == [
        "2026-10-24T02:30:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_every_half_hour_follows_real_time(day: str) -> None:
    text = "TZ=Europe/Paris */30 * * * *"
    at_ms = ms(f"{day}T00:00:00+00:00")
    found = []
    for _ in range(6):
        following = parse_cron(text).next_after(at_ms)
        assert following is not None
        found.append(following - at_ms)
        at_ms = following
    assert found == [30 * MINUTE_MS] * 6


@pytest.mark.parametrize(
    ("until", "last"),
    [
        ("2026-01-01T09:00:00+00:00", "2026-01-01T09:00:00+00:00"),
        ("2026-01-01T08:59:59.999+00:00", "2025-12-31T09:00:00+00:00"),
        ("2026-01-01T09:00:30+00:00", "2026-01-01T09:00:00+00:00"),
        ("2026-01-01T23:00:00+00:00", "2026-01-01T09:00:00+00:00"),
    ],
)
def test_last_instant(until: str, last: str) -> None:
    assert shown(parse_cron("0 9 * * *").last_until(ms(until))) == last


@pytest.mark.parametrize(
    "text",
    ["TZ=Europe/Paris 30 2 * * *", "*/7 * * * *", "TZ=America/New_York 0 * * * *", "0 0 1 * *"],
)
@pytest.mark.parametrize("start", ["2026-03-07T00:00:00+00:00", "2026-10-24T12:00:00+00:00"])
def test_the_last_instant_is_the_one_that_came(text: str, start: str) -> None:
    cron, at_ms = Cron(text), ms(start)
    for _ in range(60):
        following = cron.next_after(at_ms)
        assert following is not None
        assert cron.last_until(following) == following
        assert cron.last_until(following + 59_999) == following
        at_ms = following


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "@daily",
        "@every 5m",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "0 0 30 2 *",
        "* * * 13 *",
        "x * * * *",
        "*/0 * * * *",
        "TZ=Europe/Nowhere * * * * *",
        "TZ= * * * * *",
        "TZ=../../etc/passwd * * * * *",
        "TZ=Europe/Paris",
        "CRON_TZ=UTC @hourly",
        "* " * 100_000,
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(WireError) as caught:
        parse_cron(text)
    assert caught.value.code == "schedule_invalid"
    assert len(caught.value.message) < 400


def test_jitter_is_always_the_same_and_within_its_range() -> None:
    delays = [
        jitter_delay_ms(function_id="f", cron="* * * * *", at_ms=at_ms, jitter_ms=30_000)
        for at_ms in range(0, 1_000 * MINUTE_MS, MINUTE_MS)
    ]
    assert min(delays) >= 1_000
    assert max(delays) <= 30_000
    assert len(set(delays)) > 900
    assert delays[7] == jitter_delay_ms(
        function_id="f", cron="* * * * *", at_ms=7 * MINUTE_MS, jitter_ms=30_000
    )


def test_no_jitter_is_no_delay_and_the_least_is_a_second() -> None:
    assert jitter_delay_ms(function_id="f", cron="x", at_ms=5, jitter_ms=0) == 0
    assert jitter_delay_ms(function_id="f", cron="x", at_ms=5, jitter_ms=1_000) == 1_000
