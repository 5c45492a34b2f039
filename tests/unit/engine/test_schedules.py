"""Schedules at work: what fires when, once, and what was missed."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from stepwell.engine.rows import DeleteSchedule, PutEvent, PutSchedule
from stepwell.wire.durations import format_iso_ms
from tests.unit.engine.scenario import Scenario, returned

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
START_MS = 1_767_225_600_000
"""1 January 2026, 00:00 UTC."""


def scenario(*crons: str | dict[str, Any], workers: bool = False) -> Scenario:
    s = Scenario()
    s.now_ms = START_MS
    s.restart()
    sync(s, *crons)
    if workers:
        s.attach()
    return s


def sync(s: Scenario, *crons: str | dict[str, Any]) -> None:
    triggers = [{"cron": each} if isinstance(each, str) else each for each in crons]
    s.sync({"fn": "tick", "triggers": triggers})


def fired(s: Scenario) -> list[str]:
    """The instants for which a run began, in order, without the date."""
    return [
        json.loads(row.data)["scheduledAt"][11:-1]
        for row in s.rows(PutEvent)
        if row.name == "inngest/scheduled.timer" and row.runs
    ]


def test_every_instant_starts_a_run() -> None:
    s = scenario("*/5 * * * *")
    s.pass_ms(15 * MINUTE_MS - 1)
    assert fired(s) == ["00:05:00", "00:10:00"]
    s.pass_ms(1)
    assert fired(s) == ["00:05:00", "00:10:00", "00:15:00"]
    s.attach()
    assert len(s.calls) == 3
    s.reply(returned())


def test_the_event_of_a_schedule() -> None:
    s = scenario("TZ=Europe/Paris 0 9 * * *")
    s.pass_ms(8 * HOUR_MS)
    (row,) = s.rows(PutEvent)
    assert (row.name, row.external_id, row.ts_ms) == (
        "inngest/scheduled.timer",
        "2026-01-01T08:00:00Z",
        s.now_ms,
    )
    assert json.loads(row.data) == {
        "cron": "TZ=Europe/Paris 0 9 * * *",
        "scheduledAt": "2026-01-01T08:00:00Z",
        "fireAt": "2026-01-01T08:00:00Z",
    }


def test_the_partition_is_woken_for_it() -> None:
    s = scenario("*/2 * * * *")
    assert s.partition.next_wakeup_ms() == START_MS + 2 * MINUTE_MS


def test_jitter_delays_and_loses_nothing() -> None:
    s = scenario({"cron": "* * * * *", "jitter": "30s"})
    s.pass_ms(10 * MINUTE_MS + 30_000)
    assert fired(s) == [f"00:{minute:02}:00" for minute in range(1, 11)]
    late = [
        row.ts_ms - START_MS - (number + 1) * MINUTE_MS
        for number, row in enumerate(s.rows(PutEvent))
    ]
    assert all(1_000 <= each <= 30_000 for each in late)
    assert len(set(late)) > 1


@pytest.mark.parametrize("restarts", [False, True])
def test_a_jitter_longer_than_the_interval_loses_no_instant(restarts: bool) -> None:
    s = scenario({"cron": "* * * * *", "jitter": "5m"})
    for _ in range(66):
        s.pass_ms(MINUTE_MS)
        if restarts:
            s.restart()
    found = fired(s)
    assert found[:61] == [format_iso_ms(START_MS + n * MINUTE_MS)[11:19] for n in range(1, 62)]


def test_schedules_of_one_function_that_meet_start_one_run() -> None:
    s = scenario("*/10 * * * *", "*/15 * * * *", "0,30 * * * *")
    s.pass_ms(HOUR_MS)
    assert fired(s) == [
        f"{text}:00" for text in ("00:10", "00:15", "00:20", "00:30", "00:40", "00:45", "00:50")
    ] + ["01:00:00"]


def test_schedules_that_meet_start_one_run_though_jitter_parts_them() -> None:
    s = scenario("* * * * *", {"cron": "*/1 * * * *", "jitter": "5m"})
    for _ in range(40):
        s.pass_ms(MINUTE_MS)
        s.restart()
    assert len(fired(s)) == len(set(fired(s)))
    assert len(fired(s)) == 40


def test_functions_have_their_own() -> None:
    s = scenario("* * * * *")
    trigger = [{"cron": "* * * * *"}]
    s.sync({"fn": "tick", "triggers": trigger}, {"fn": "tock", "triggers": trigger})
    s.pass_ms(MINUTE_MS)
    assert fired(s) == ["00:01:00", "00:01:00"]


def test_of_what_was_missed_the_last_one_fires_once() -> None:
    s = scenario("*/10 * * * *")
    s.pass_ms(10 * MINUTE_MS)
    s.now_ms += 47 * MINUTE_MS
    s.restart()
    s.pass_ms(3 * MINUTE_MS)
    assert fired(s) == ["00:10:00", "00:50:00", "01:00:00"]
    (late,) = [row for row in s.rows(PutEvent) if "00:50:00" in (row.external_id or "")]
    assert json.loads(late.data)["fireAt"] == "2026-01-01T00:57:00Z"


def test_what_is_a_little_late_was_not_missed() -> None:
    s = scenario("* * * * *")
    s.now_ms += MINUTE_MS + 59_000
    s.restart()
    s.pass_ms(0)
    assert fired(s) == ["00:01:00"]
    s.pass_ms(1_000)
    assert fired(s) == ["00:01:00", "00:02:00"]


def test_a_long_time_without_a_server_costs_no_more_than_a_short_one() -> None:
    s = scenario("* * * * *")
    s.now_ms += 400 * 24 * HOUR_MS
    s.restart()
    s.pass_ms(0)
    assert fired(s) == ["00:00:00"]


def test_a_jitter_that_is_not_over_keeps_its_instant_over_a_restart() -> None:
    s = scenario({"cron": "0 * * * *", "jitter": "5m"})
    s.pass_ms(HOUR_MS + 500)
    s.restart()
    s.pass_ms(5 * MINUTE_MS)
    assert fired(s) == ["01:00:00"]


def test_a_sync_keeps_an_instant_that_is_due() -> None:
    s = scenario("0 * * * *")
    s.now_ms = START_MS + HOUR_MS
    s.sync({"fn": "tick", "triggers": [{"cron": "0 * * * *"}], "name": "renamed"})
    s.pass_ms(0)
    assert fired(s) == ["01:00:00"]


def test_a_new_schedule_begins_with_the_next_instant() -> None:
    s = scenario("0 0 1 1 *")
    s.pass_ms(90_000)
    sync(s, "* * * * *")
    s.pass_ms(90_000)
    assert fired(s) == ["00:02:00", "00:03:00"]


def test_a_schedule_that_is_gone_fires_no_more() -> None:
    s = scenario("* * * * *", "0 * * * *")
    s.pass_ms(MINUTE_MS)
    sync(s, "0 * * * *")
    assert [row.cron for row in s.rows(DeleteSchedule)] == ["* * * * *"]
    s.pass_ms(HOUR_MS)
    assert fired(s) == ["00:01:00", "01:00:00"]
    s.sync()
    s.pass_ms(2 * HOUR_MS)
    assert len(fired(s)) == 2
    assert s.store.load_schedules() == []


def test_a_schedule_that_comes_back_has_missed_nothing() -> None:
    s = scenario("* * * * *")
    sync(s)
    s.pass_ms(10 * MINUTE_MS)
    sync(s, "* * * * *")
    s.pass_ms(MINUTE_MS)
    assert fired(s) == ["00:11:00"]


def test_a_changed_jitter_counts_from_the_next_instant_on() -> None:
    s = scenario({"cron": "* * * * *", "jitter": "5m"})
    sync(s, "* * * * *")
    s.pass_ms(3 * MINUTE_MS)
    assert fired(s) == ["00:01:00", "00:02:00", "00:03:00"]


def test_an_event_trigger_beside_a_schedule() -> None:
    s = scenario("* * * * *", {"event": "order/paid"}, workers=True)
    s.send()
    s.pass_ms(MINUTE_MS)
    assert len(s.calls) == 2


def test_who_is_triggered_by_the_event_of_schedules() -> None:
    s = scenario("* * * * *")
    s.sync(
        {"fn": "tick", "triggers": [{"cron": "* * * * *"}]},
        {"fn": "see", "triggers": [{"event": "inngest/scheduled.timer"}]},
    )
    s.pass_ms(MINUTE_MS)
    (row,) = s.rows(PutEvent)
    assert len(row.runs) == 2


@pytest.mark.parametrize(
    ("from_day", "instants"),
    [
        ("2026-03-28", ["01:30:00", "01:00:00", "00:30:00"]),
        ("2026-10-24", ["00:30:00", "00:30:00", "01:30:00"]),
    ],
)
def test_summer_time(from_day: str, instants: list[str]) -> None:
    s = scenario("0 0 1 1 *")
    s.now_ms = int(datetime.fromisoformat(f"{from_day}T00:00:00+00:00").timestamp() * 1000)
    s.restart()
    sync(s, "TZ=Europe/Paris 30 2 * * *")
    s.pass_ms(72 * HOUR_MS)
    assert fired(s) == instants


def test_rows_tell_the_instant_that_fired_last() -> None:
    s = scenario("* * * * *")
    s.pass_ms(2 * MINUTE_MS)
    assert [row.last_ms - START_MS for row in s.rows(PutSchedule)] == [0, 60_000, 120_000]
