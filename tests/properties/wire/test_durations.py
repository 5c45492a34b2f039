"""Durations and instants round-trip, and no text makes them raise anything else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.wire.durations import (
    RETRY_AFTER_MS_MAX,
    RETRY_AFTER_MS_MIN,
    format_duration,
    format_iso_ms,
    parse_duration_ms,
    parse_instant_ms,
    retry_at_ms,
    sleep_until_ms,
)
from tests.properties.wire.json_strategies import value_unless_refused

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW_MS = 1_760_000_000_000
INSTANTS = st.integers(-62_135_400_000_000, 253_402_000_000_000).map(
    lambda ms: EPOCH + timedelta(milliseconds=ms)
)
TEXTS = st.text(max_size=40) | st.text("0123456789.+-: TZwdhmsuµn,GMTOct", max_size=40)


def ms_of(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)


@settings(deadline=None)
@given(st.integers(0, 2**53 - 1000))
def test_written_durations_read_back_as_whole_seconds(ms: int) -> None:
    assert parse_duration_ms(format_duration(ms)) == -(-ms // 1000) * 1000


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1000),
            st.sampled_from([("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["", "+", "-"]),
)
def test_a_duration_is_the_sum_of_its_parts(
    parts: list[tuple[int, tuple[str, int]]], sign: str
) -> None:
    text = sign + "".join(f"{count}{unit}" for count, (unit, _) in parts)
    total = sum(count * ms for count, (_, ms) in parts)

    assert parse_duration_ms(text) == (-total if sign == "-" else total)


@settings(deadline=None)
@given(INSTANTS)
def test_written_instants_read_back(at: datetime) -> None:
    assert parse_instant_ms(format_iso_ms(ms_of(at))) == ms_of(at)


@settings(deadline=None)
@given(INSTANTS, st.integers(-23 * 60, 23 * 60))
def test_offsets_are_taken_off(at: datetime, minutes: int) -> None:
    elsewhere = at.astimezone(timezone(timedelta(minutes=minutes)))

    assert parse_instant_ms(elsewhere.isoformat()) == ms_of(at)


@settings(deadline=None)
@given(INSTANTS.filter(lambda at: at.year >= 1000))
def test_date_forms_agree(at: datetime) -> None:
    at = at.replace(microsecond=0)
    ms = ms_of(at)

    assert parse_instant_ms(at.strftime("%a, %d %b %Y %H:%M:%S GMT")) == ms
    assert parse_instant_ms(at.strftime("%a %b %e %H:%M:%S %Y")) == ms
    assert parse_instant_ms(at.strftime("%Y-%m-%d %H:%M:%S")) == ms


@settings(deadline=None)
@given(st.integers())
def test_every_integer_is_written_as_an_instant(ms: int) -> None:
    text = format_iso_ms(ms)

    assert len(text) == 24
    assert parse_instant_ms(text) is not None


@settings(deadline=None)
@given(TEXTS, st.integers(0, 2**42))
def test_no_text_surprises(text: str, now_ms: int) -> None:
    at_ms = retry_at_ms(text, now_ms)
    assert at_ms is None or RETRY_AFTER_MS_MIN <= at_ms - now_ms <= RETRY_AFTER_MS_MAX
    ends_ms = value_unless_refused(lambda: sleep_until_ms(text, now_ms), "duration_invalid")
    assert ends_ms is None or ends_ms >= now_ms
