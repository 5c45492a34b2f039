"""Who has which call, until when; extension, expiry, and the grace after a lost connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.engine.inputs import CallUnheard
from stepwell.engine.leases import Leases, make_lease_id
from stepwell.engine.rows import HistoryKind, PutHistory, RunStatus, UpdateRun
from stepwell.engine.state import Job, Phase, Run, RunState
from stepwell.engine.turn import LOSSES_PER_ATTEMPT
from stepwell.wire.ids import EventId, RequestId, RunId, ulid_bytes, ulid_ms
from tests.unit.engine.scenario import Scenario, raised, ran, returned

if TYPE_CHECKING:
    from stepwell.engine.effects import Dispatch

LEASE_MS = 120_000
GRACE_MS = 15_000


@pytest.fixture
def leases() -> Leases:
    return Leases(lease_ms=100, grace_ms=10)


def lease(leases: Leases, number: int, now_ms: int, connection: str = "c1") -> RequestId:
    request_id = RequestId(ulid_bytes(number, b"\0" * 10))
    job = Job(no=0, phase=Phase.LEASED, request_id=request_id)
    leases.grant(a_run(), job, connection, now_ms)
    return request_id


def a_run() -> Run:
    return Run(
        run_id=RunId(b"r" * 16),
        function_no=1,
        event_id=EventId(b"e" * 16),
        status=RunStatus.RUNNING,
        started_at_ms=1,
        state=RunState(),
        stored=True,
    )


def ended(leases: Leases, now_ms: int) -> list[RequestId | None]:
    found = []
    while (lease := leases.pop_ended(now_ms)) is not None:
        found.append(lease.job.request_id)
    return found


# --- the collection ---


def test_leases_end_in_order_and_at_their_time(leases: Leases) -> None:
    first, second = lease(leases, 1, now_ms=0), lease(leases, 2, now_ms=5)
    assert leases.next_ms() == 100
    assert ended(leases, 99) == []
    assert ended(leases, 100) == [first]
    assert ended(leases, 1_000) == [second]
    assert len(leases) == 0
    assert leases.next_ms() is None


def test_an_extended_lease_goes_to_the_end_of_the_line(leases: Leases) -> None:
    first, second = lease(leases, 1, now_ms=0), lease(leases, 2, now_ms=0)
    leases.extend(first, "c1", 50)
    assert leases.next_ms() == 100
    assert ended(leases, 149) == [second]
    assert ended(leases, 150) == [first]


def test_a_lease_begins_anew_when_its_call_leaves_late(leases: Leases) -> None:
    late, extended = lease(leases, 1, now_ms=0), lease(leases, 2, now_ms=0)
    leases.extend(extended, "c1", 40)
    leases.begin(late, 50)
    assert ended(leases, 149) == [extended]
    assert ended(leases, 150) == [late]
    leases.begin(late, 200)
    assert len(leases) == 0, "a call that is over has no lease"


def test_a_dropped_lease_ends_after_the_grace_before_those_that_are_held(leases: Leases) -> None:
    held, dropped = lease(leases, 1, now_ms=0), lease(leases, 2, now_ms=0)
    leases.drop(dropped, 20)
    assert leases.next_ms() == 30
    assert ended(leases, 30) == [dropped]
    assert ended(leases, 100) == [held]


def test_a_grace_that_ends_after_the_leases_does_not_keep_them() -> None:
    leases = Leases(lease_ms=10, grace_ms=1_000)
    dropped, held = lease(leases, 1, now_ms=0), lease(leases, 2, now_ms=0)
    leases.drop(dropped, 0)
    assert leases.next_ms() == 10
    assert ended(leases, 10) == [held]
    assert ended(leases, 1_000) == [dropped]


def test_all_that_ends_in_one_millisecond_is_found(leases: Leases) -> None:
    ids = [lease(leases, number, now_ms=0) for number in range(1, 6)]
    leases.drop(ids[0], 90)
    assert sorted(ended(leases, 100), key=str) == sorted(ids, key=str)


def test_a_dropped_lease_that_is_extended_is_held_again(leases: Leases) -> None:
    only = lease(leases, 1, now_ms=0)
    leases.drop(only, 0)
    leases.extend(only, "c2", 5)
    assert ended(leases, 104) == []
    assert leases.of_connection("c2") == [only]
    assert leases.of_connection("c1") == []


def test_calls_of_a_connection_come_in_order(leases: Leases) -> None:
    ids = [lease(leases, number, now_ms=0) for number in (3, 1, 2)]
    lease(leases, 4, now_ms=0, connection="c2")
    assert leases.of_connection("c1") == sorted(ids)
    for request_id in ids:
        leases.end(request_id)
    assert leases.of_connection("c1") == []


def test_nothing_is_left_of_calls_that_are_over(leases: Leases) -> None:
    for number in range(1, 50):
        request_id = lease(leases, number, now_ms=number, connection=f"c{number % 3}")
        if number % 2:
            leases.drop(request_id, number)
        leases.end(request_id)
        leases.end(request_id)  # a second time is nothing
    assert len(leases) == 0
    assert leases._by_connection == {}


def test_a_lease_id_tells_when_the_lease_ends() -> None:
    request_id = RequestId(ulid_bytes(5, b"abcdefghij"))
    assert ulid_ms(make_lease_id(request_id, 1_234)) == 1_234


# --- extension ---


@pytest.fixture
def out() -> Scenario:
    """A call is out at c1, acknowledged."""
    s = Scenario()
    s.sync({"fn": "ship", "retries": 1})
    s.attach("c1", instance="w1")
    s.send()
    s.partition.ack(s.call.request_id)
    return s


def lease_id(call: Dispatch) -> bytes:
    return make_lease_id(call.request_id, call.lease_until_ms)


def extend(s: Scenario, named: bytes, connection: str = "c1") -> bytes | None:
    return s.partition.extend_lease(
        connection_id=connection,
        request_id=s.call.request_id,
        lease_id=named,
        now_ms=s.now_ms,
    )


def test_an_extension_gives_a_new_id_and_a_whole_lease(out: Scenario) -> None:
    out.pass_ms(100_000)
    new = extend(out, lease_id(out.call))
    assert new not in (None, lease_id(out.call))
    assert new is not None
    assert ulid_ms(new) == out.now_ms + LEASE_MS
    out.pass_ms(LEASE_MS - 1)
    assert out.reply(returned())


def test_the_same_extension_again_gives_the_current_id(out: Scenario) -> None:
    first = lease_id(out.call)
    out.pass_ms(1_000)
    new = extend(out, first)
    out.pass_ms(1_000)
    assert extend(out, first) == new
    assert new is not None
    assert extend(out, new) not in (None, new)


def test_an_id_that_was_superseded_twice_is_refused(out: Scenario) -> None:
    first = lease_id(out.call)
    out.pass_ms(1_000)
    second = extend(out, first)
    assert second is not None
    out.pass_ms(1_000)
    assert extend(out, second) is not None
    assert extend(out, first) is None


def test_an_alien_id_is_refused_and_does_not_prolong_the_lease(out: Scenario) -> None:
    out.pass_ms(LEASE_MS - 1)
    assert extend(out, ulid_bytes(1, b"a" * 10)) is None
    out.pass_ms(1)
    assert out.rows(PutHistory)[-1].kind is HistoryKind.CALL_LOST


def test_an_unknown_call_cannot_be_extended(out: Scenario) -> None:
    out.reply(returned())
    assert extend(out, lease_id(out.call)) is None


def test_an_extension_within_the_millisecond_of_the_call_is_one(out: Scenario) -> None:
    now = extend(out, lease_id(out.call))
    assert now is not None
    out.pass_ms(5)
    later = extend(out, now)
    assert later not in (None, now)


def test_an_extension_counts_as_acknowledgement() -> None:
    s = Scenario()
    s.sync({})
    s.attach("c1", instance="w1")
    s.send()
    assert extend(s, lease_id(s.call)) is not None
    s.gone("c1")
    assert s.rows(PutHistory) == []
    s.attach("c2", instance="w1")
    assert len(s.calls) == 1, "it was acknowledged, so it is kept for its worker"


def test_a_worker_that_reconnects_and_extends_keeps_its_call(out: Scenario) -> None:
    out.gone("c1")
    out.attach("c2", instance="w1")
    out.pass_ms(GRACE_MS - 1)
    assert extend(out, lease_id(out.call), "c2") is not None
    out.pass_ms(LEASE_MS - 1)
    assert out.reply(returned())


def test_another_instance_that_extends_takes_the_slot_over(out: Scenario) -> None:
    out.attach("c2", instance="w2", limit=1)
    assert extend(out, lease_id(out.call), "c2") is not None
    out.send()
    assert [call.connection_id for call in out.calls] == ["c1", "c1"], "w2 has no slot left"
    out.reply(returned(), out.calls[0])
    out.gone("c1")
    assert out.calls[-1].connection_id == "c2", "the slot is free again"


def test_any_id_is_taken_once_after_a_restart(out: Scenario) -> None:
    out.restart()
    out.attach("c2", instance="w1")
    unknown = ulid_bytes(7, b"z" * 10)
    new = extend(out, unknown, "c2")
    assert new is not None
    assert extend(out, unknown, "c2") == new, "its answer may have been lost"
    assert extend(out, ulid_bytes(8, b"z" * 10), "c2") is None


# --- how long a call may last ---

TIMEOUT_MS = 500_000


@pytest.fixture
def timed() -> Scenario:
    """A call is out at c1; a call may last 500 s."""
    s = Scenario(call_timeout_ms=TIMEOUT_MS)
    s.sync({"fn": "ship", "retries": 1})
    s.attach("c1", instance="w1")
    s.send()
    return s


def hold(s: Scenario, ms: int, named: bytes | None = None) -> bytes | None:
    """Extend the lease every 50 s for so long; the last lease id, None once it was refused."""
    named = named or lease_id(s.call)
    for _ in range(ms // 50_000):
        s.pass_ms(50_000)
        extended = extend(s, named)
        if extended is None:
            return None
        named = extended
    return named


def test_a_call_that_lasts_too_long_fails_its_attempt_with_the_name_of_the_setting(
    timed: Scenario,
) -> None:
    first = timed.call
    assert hold(timed, TIMEOUT_MS - 50_000) is not None
    assert hold(timed, 50_000) is None, "not extended any more"
    timed.pass_ms(LEASE_MS)
    assert [row.kind for row in timed.rows(PutHistory)] == [HistoryKind.ATTEMPT_FAILED]
    (failed,) = timed.rows(PutHistory)
    assert failed.payload is not None
    assert b"within 500 s" in failed.payload
    assert b"STEPWELL_CONNECT_CALL_TIMEOUT" in failed.payload
    timed.pass_ms(1_000)
    assert (timed.call.attempt, timed.call.generation) == (1, 2)
    assert not timed.reply(returned(), first)


def test_the_last_attempt_that_lasts_too_long_fails_the_run(timed: Scenario) -> None:
    for _ in range(2):
        assert hold(timed, TIMEOUT_MS) is None
        timed.pass_ms(LEASE_MS)
        timed.pass_ms(1_000)
    end = timed.rows(UpdateRun)[-1]
    assert (end.status, len(timed.partition.leases)) == (RunStatus.FAILED, 0)
    assert end.output is not None
    assert b"CallTimeout" in end.output


def test_an_answer_before_the_last_lease_ends_counts_however_long_it_took(timed: Scenario) -> None:
    assert hold(timed, TIMEOUT_MS) is None
    assert timed.reply(returned("late"))


def test_a_call_lasts_no_longer_because_the_server_was_restarted(timed: Scenario) -> None:
    hold(timed, TIMEOUT_MS - 100_000)
    timed.restart()
    timed.attach("c1", instance="w1")
    anything = ulid_bytes(7, b"z" * 10)
    named = extend(timed, anything)
    assert named is not None
    assert hold(timed, 100_000, named) is None


def test_time_that_a_clock_was_set_forward_does_not_count(timed: Scenario) -> None:
    named = hold(timed, 100_000)
    assert named is not None
    timed.now_ms += 10 * TIMEOUT_MS
    timed.partition.clock_jumped(10 * TIMEOUT_MS)
    assert hold(timed, TIMEOUT_MS - 150_000, named) is not None


# --- expiry and grace ---


def test_a_silent_worker_is_lost_at_the_end_of_the_lease(out: Scenario) -> None:
    first = out.call
    out.pass_ms(LEASE_MS - 1)
    assert len(out.calls) == 1
    out.pass_ms(1)
    assert out.call.request_id != first.request_id
    assert (out.call.attempt, out.call.generation, out.call.job_no) == (0, 2, first.job_no)


def test_a_late_reply_is_refused_and_changes_nothing(out: Scenario) -> None:
    first = out.call
    out.pass_ms(LEASE_MS)
    assert not out.reply(returned("late"), first)
    assert out.last.writes == []
    assert out.reply(returned("in time"))
    assert out.rows(UpdateRun)[-1].output == b'"in time"'


def test_a_lost_connection_keeps_its_calls_for_the_grace(out: Scenario) -> None:
    out.attach("c2", instance="w2")
    out.gone("c1")
    out.pass_ms(GRACE_MS - 1)
    assert len(out.calls) == 1
    out.pass_ms(1)
    assert out.call.connection_id == "c2"
    assert [row.kind for row in out.rows(PutHistory)] == [HistoryKind.CALL_LOST]


def test_a_reply_within_the_grace_counts_without_any_connection(out: Scenario) -> None:
    out.gone("c1")
    out.pass_ms(GRACE_MS - 1)
    assert out.reply(ran("a"))


def test_a_reply_on_another_connection_counts(out: Scenario) -> None:
    out.attach("c2", instance="w2")
    assert out.reply(returned())


def test_a_grace_of_nothing_loses_the_call_at_once() -> None:
    s = Scenario(reconnect_grace_ms=0)
    s.sync({})
    s.attach("c1")
    s.send()
    s.partition.ack(s.call.request_id)
    s.gone("c1")
    s.attach("c2")
    assert [call.connection_id for call in s.calls] == ["c1", "c2"]


def test_a_call_that_was_not_acknowledged_goes_elsewhere_at_once() -> None:
    s = Scenario()
    s.sync({})
    s.attach("c1")
    s.send()
    s.attach("c2")
    s.gone("c1")
    assert [call.connection_id for call in s.calls] == ["c1", "c2"]
    assert s.call.attempt == 0
    assert [row.kind for row in s.rows(PutHistory)] == [HistoryKind.CALL_LOST]
    assert not s.reply(returned(), s.calls[0])


def test_its_third_loss_in_a_row_uses_up_an_attempt() -> None:
    s = Scenario(retry_interval_ms=1_000)
    s.sync({})
    s.attach("c1")
    s.send()
    for number in (1, 2, 3):  # a step may end its process before the acknowledgement has left
        s.gone(f"c{number}")
        s.attach(f"c{number + 1}")
    assert [call.attempt for call in s.calls] == [0, 0, 0]
    s.pass_ms(1_000)
    assert s.call.attempt == 1


def test_a_connection_that_drains_keeps_only_what_it_acknowledged() -> None:
    s = Scenario()
    s.sync({})
    s.attach("c1", instance="w1")
    s.send()
    s.send()
    first, second = s.calls
    s.partition.ack(first.request_id)
    s.attach("c2", instance="w1")
    s.detach("c1")
    assert [call.run_id for call in s.calls] == [first.run_id, second.run_id, second.run_id]
    assert s.call.connection_id == "c2"
    assert s.reply(returned(), first), "it finishes what it has"


def test_an_acknowledgement_of_a_call_that_went_elsewhere_is_nothing() -> None:
    s = Scenario()
    s.sync({})
    s.attach("c1")
    s.send()
    first = s.call
    s.detach("c1")
    s.attach("c2")
    s.partition.ack(first.request_id)
    s.gone("c2")
    s.attach("c3")
    assert s.call.connection_id == "c3", "the second call was not acknowledged"


@pytest.mark.parametrize("how", ["lease", "grace", "restart"])
def test_the_third_loss_in_a_row_is_an_attempt(out: Scenario, how: str) -> None:
    for expected in (0, 0, 1):
        lose(out, how)
        assert out.call.attempt == expected
    kinds = [row.kind for row in out.rows(PutHistory)]
    assert kinds == [HistoryKind.CALL_LOST] * 3 + [HistoryKind.ATTEMPT_FAILED]


def test_the_third_loss_at_the_last_attempt_fails_the_run(out: Scenario) -> None:
    for _ in range(6):
        lose(out, "lease")
    end = out.rows(UpdateRun)[-1]
    assert end.status is RunStatus.FAILED
    assert end.output is not None
    assert b"connect_worker_stopped_responding" in end.output
    assert len(out.partition.leases) == 0


def test_a_report_begins_the_count_of_losses_anew() -> None:
    s = Scenario()
    s.sync({"fn": "ship", "retries": 5})
    s.attach("c1")
    s.send()
    lose(s, "lease")
    lose(s, "lease")
    s.reply(raised())
    s.pass_ms(1_000)
    assert s.call.attempt == 1
    lose(s, "lease")
    lose(s, "lease")
    assert s.call.attempt == 1, "two in a row, twice"


def lose(s: Scenario, how: str) -> None:
    """Lose the call that is out, and have the next one sent."""
    calls = len(s.calls)
    s.partition.ack(s.call.request_id)
    if how == "lease":
        s.pass_ms(LEASE_MS)
    elif how == "grace":
        s.gone(s.call.connection_id)
        s.attach(f"again {calls}")
        s.pass_ms(GRACE_MS)
    else:
        s.restart()
        s.attach(f"again {calls}")
        s.pass_ms(GRACE_MS)
    s.pass_ms(1_000)


def unacknowledged() -> Scenario:
    s = Scenario()
    s.sync({"fn": "ship", "retries": 1})
    s.attach("c1", instance="w1")
    s.send()
    return s


def test_a_call_that_its_worker_will_not_do_is_given_out_again_at_once() -> None:
    s = unacknowledged()
    first = s.call
    s.step(CallUnheard(connection_id="c1", request_id=first.request_id))
    assert len(s.calls) == 2
    assert (s.call.job_no, s.call.attempt) == (first.job_no, 0)
    assert s.call.request_id != first.request_id
    assert not s.reply_to(first.request_id, ran("a")), "the first one is not the current one"


def test_the_third_time_it_counts_as_an_attempt() -> None:
    s = unacknowledged()
    for _ in range(LOSSES_PER_ATTEMPT):
        s.step(CallUnheard(connection_id="c1", request_id=s.call.request_id))
    s.pass_ms(60_000)
    assert s.call.attempt == 1


@pytest.mark.parametrize("connection", ["c1", "c2"])
def test_a_call_that_was_acknowledged_or_is_elsewhere_is_left_alone(connection: str) -> None:
    s = unacknowledged()
    if connection == "c1":
        s.partition.ack(s.call.request_id)
    s.step(CallUnheard(connection_id=connection, request_id=s.call.request_id))
    assert len(s.calls) == 1
