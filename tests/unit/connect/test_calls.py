"""The calls that a worker has taken: leases, replies, repetition, bounds."""

from __future__ import annotations

import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stepwell.config import SDK_NAME
from stepwell.connect import calls as module
from stepwell.connect.calls import (
    RECENT_MAX,
    RESEND_MS,
    RESEND_MS_MAX,
    SHRUNK_BYTES_MAX,
    Arrival,
    Calls,
    Reply,
    Saturation,
)
from stepwell.outcome import Outcome
from stepwell.wire.connect import (
    SDKResponse,
    Status,
    WorkerRequestAckData,
    WorkerRequestExtendLeaseData,
)
from tests.unit.connect.gateway import request

DONE = Outcome(kind="result", body=b"1")


def lease(payload: bytes) -> tuple[str, str]:
    data = WorkerRequestExtendLeaseData.FromString(payload)
    return data.request_id, data.lease_id


def taken(*request_ids: str, now_ms: int = 0) -> Calls:
    """Calls that run, on a socket that wants extensions every five seconds."""
    calls = Calls()
    calls.connected(5_000, now_ms)
    for request_id in request_ids:
        assert calls.came(request(request_id), now_ms) is Arrival.RUN
    return calls


def answered(calls: Calls, request_id: str, outcome: Outcome = DONE) -> bytes:
    payload = calls.finished(request_id, outcome)
    assert payload is not None
    return payload


def again(calls: Calls, now_ms: int) -> list[str]:
    """Which calls' replies are sent again now; they leave at once."""
    request_ids = [reply.request_id for reply in calls.due_replies(now_ms)]
    for request_id in request_ids:
        calls.reply_left(request_id, now_ms)
    return request_ids


# --- what is sent ---


def test_ack_repeats_the_call() -> None:
    calls = taken("a")

    ack = WorkerRequestAckData.FromString(calls.ack_of(request("a")))

    assert ack == WorkerRequestAckData(
        request_id="a",
        account_id="account",
        env_id="env",
        app_id="app-id",
        function_slug="shop-ship",
        step_id="step",
        system_trace_ctx=b"{}",
        user_trace_ctx=b'{"traceparent":"00"}',
        run_id="run-1",
    )


def test_absent_step_id_stays_absent() -> None:
    ack = WorkerRequestAckData.FromString(Calls().ack_of(request("a", step_id=None)))

    assert not ack.HasField("step_id")


def test_extension_repeats_the_call_and_names_the_lease() -> None:
    [payload] = taken("a").due_extensions(5_000)

    extension = WorkerRequestExtendLeaseData.FromString(payload)
    assert extension.lease_id == "lease-1"
    assert (extension.request_id, extension.app_id, extension.run_id, extension.step_id) == (
        "a",
        "app-id",
        "run-1",
        "step",
    )


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome(kind="ops", body=b"[]"), Status.NOT_COMPLETED),
        (Outcome(kind="result", body=b"{}"), Status.DONE),
        (Outcome(kind="error", body=b"{}", no_retry=True), Status.ERROR),
        (Outcome(kind="error", body=b"{}", retry_after="3"), Status.ERROR),
    ],
)
def test_reply_carries_the_outcome(outcome: Outcome, status: Status) -> None:
    reply = SDKResponse.FromString(answered(taken("a"), "a", outcome))

    assert Status(reply.status) is status
    assert reply.body == outcome.body
    assert reply.no_retry is outcome.no_retry
    assert (reply.retry_after if reply.HasField("retry_after") else None) == outcome.retry_after
    assert (reply.request_id, reply.account_id, reply.env_id) == ("a", "account", "env")
    assert (reply.app_id, reply.run_id, reply.request_version) == ("app-id", "run-1", 2)
    assert reply.sdk_version == SDK_NAME
    assert (reply.system_trace_ctx, reply.user_trace_ctx) == (b"{}", b'{"traceparent":"00"}')


# --- repetition ---


def test_running_call_that_comes_again_is_not_run_again() -> None:
    assert taken("a").came(request("a"), 1) is Arrival.RUNNING


def test_done_call_that_comes_again_gets_the_same_reply() -> None:
    calls = taken("a")
    reply = answered(calls, "a")

    assert calls.came(request("a"), 1) is Arrival.DONE
    assert calls.reply_of("a") == reply
    calls.reply_acked("a")
    assert calls.came(request("a"), 2) is Arrival.DONE
    assert calls.reply_of("a") == reply


def test_acknowledged_replies_are_remembered_for_a_while() -> None:
    calls = taken()
    for number in range(RECENT_MAX + 1):
        calls.came(request(f"{number}"), 0)
        answered(calls, f"{number}")
        calls.reply_acked(f"{number}")

    assert calls.reply_of("0") is None
    assert calls.reply_of("1") is not None


def test_large_acknowledged_replies_are_forgotten_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECENT_BYTES_MAX", 3_000)
    calls = taken("a", "b", "c")
    for request_id in ("a", "b", "c"):
        answered(calls, request_id, Outcome(kind="result", body=b"x" * 1_200))
        calls.reply_acked(request_id)

    assert [calls.reply_of(request_id) is None for request_id in ("a", "b", "c")] == [
        True,
        False,
        False,
    ]


def test_acknowledgement_of_an_unknown_reply_changes_nothing() -> None:
    calls = taken("a")

    calls.reply_acked("a")
    calls.reply_acked("other")

    assert (calls.running_count, calls.waiting_count) == (1, 0)


# --- leases ---


def test_each_running_call_is_extended_at_its_interval() -> None:
    calls = taken("a")
    calls.came(request("b"), 2_000)

    assert calls.next_wakeup_ms() == 5_000
    assert [lease(payload)[0] for payload in calls.due_extensions(5_000)] == ["a"]
    assert calls.next_wakeup_ms() == 7_000
    assert [lease(payload)[0] for payload in calls.due_extensions(10_000)] == ["b", "a"]
    assert calls.due_extensions(10_001) == []


def test_new_lease_is_used_for_the_next_extension() -> None:
    calls = taken("a")

    assert not calls.lease_answered("a", "lease-2")

    assert [lease(payload) for payload in calls.due_extensions(5_000)] == [("a", "lease-2")]


def test_unanswered_extension_is_repeated_with_the_same_lease() -> None:
    calls = taken("a")
    calls.due_extensions(5_000)

    assert [lease(payload) for payload in calls.due_extensions(10_000)] == [("a", "lease-1")]


def test_lost_call_is_told_once_and_left_alone() -> None:
    calls = taken("a")

    assert calls.lease_answered("a", None)
    assert not calls.lease_answered("a", None)
    assert not calls.lease_answered("a", "lease-2")
    assert calls.due_extensions(5_000) == []
    assert calls.came(request("a"), 1) is Arrival.REFUSED
    assert calls.running_count == 1


def test_lost_call_that_finishes_sends_no_reply() -> None:
    calls = taken("a")
    calls.lease_answered("a", None)

    assert calls.finished("a", DONE) is None
    assert (calls.running_count, calls.waiting_count) == (0, 0)


def test_lost_call_may_come_again_when_it_has_ended() -> None:
    calls = taken("a")
    calls.lease_answered("a", None)
    calls.dropped("a")

    assert calls.came(request("a"), 1) is Arrival.RUN


def test_lease_answer_for_a_finished_call_means_nothing() -> None:
    calls = taken("a")
    answered(calls, "a")

    assert not calls.lease_answered("a", None)
    assert calls.waiting_count == 1


def test_finished_call_is_not_extended() -> None:
    calls = taken("a", "b")
    answered(calls, "a")

    assert [lease(payload)[0] for payload in calls.due_extensions(5_000)] == ["b"]


# --- reconnects ---


def test_new_socket_extends_everything_that_runs() -> None:
    calls = taken("a", "b", "c")
    calls.lease_answered("b", None)

    extensions = calls.connected(2_000, 4_000)

    assert [lease(payload)[0] for payload in extensions] == ["a", "c"]
    assert calls.next_wakeup_ms() == 6_000


def test_waiting_replies_are_sent_again_after_a_while() -> None:
    calls = taken("a", "b")
    first, _ = answered(calls, "a"), answered(calls, "b")
    calls.reply_left("a", 100)
    calls.reply_left("b", 200)

    assert calls.next_wakeup_ms() == 100 + RESEND_MS
    assert calls.due_replies(100 + RESEND_MS) == [Reply(request_id="a", payload=first)]
    calls.reply_left("a", 100 + RESEND_MS)
    assert again(calls, 200 + RESEND_MS) == ["b"]
    assert again(calls, 100 + 2 * RESEND_MS) == ["a"]
    calls.reply_acked("a")
    assert again(calls, 10**6) == ["b"]


def test_reply_that_has_not_left_is_not_sent_again() -> None:
    calls = taken("a")
    answered(calls, "a")

    assert calls.next_wakeup_ms() is None
    assert calls.due_replies(10**6) == []
    calls.reply_left("a", 10**6)
    assert again(calls, 10**6 + RESEND_MS) == ["a"]


def test_copy_that_is_still_leaving_is_not_joined_by_another() -> None:
    calls = taken("a")
    answered(calls, "a")
    calls.reply_left("a", 0)

    assert len(calls.due_replies(RESEND_MS)) == 1

    assert calls.due_replies(10**6) == []


def test_slow_acknowledgements_make_the_next_resend_later() -> None:
    calls = taken("a", "b", "c")
    for request_id in ("a", "b", "c"):
        answered(calls, request_id)
        calls.reply_left(request_id, 0)

    calls.reply_acked("a", 4_000)
    assert calls.next_wakeup_ms() == 8_000
    calls.reply_acked("b", 10**6)

    assert calls.next_wakeup_ms() == RESEND_MS_MAX


def test_quick_acknowledgement_makes_it_soon_again() -> None:
    calls = taken("a", "b", "c")
    for request_id in ("a", "b", "c"):
        answered(calls, request_id)
        calls.reply_left(request_id, 0)
    calls.reply_acked("a", 4_000)

    calls.reply_acked("b", 10)

    assert calls.next_wakeup_ms() == RESEND_MS


def test_new_socket_gets_the_replies_and_they_wait_again() -> None:
    calls = taken("a")
    reply = answered(calls, "a")
    calls.reply_left("a", 0)

    assert [waiting.payload for waiting in calls.waiting()] == [reply]
    calls.connected(5_000, 4_000)
    calls.reply_left("a", 4_000)

    assert again(calls, RESEND_MS) == []
    assert again(calls, 4_000 + RESEND_MS) == ["a"]


# --- replies that are too large ---


def test_reply_that_is_too_large_becomes_an_error_that_fails_the_run() -> None:
    calls = taken("a")
    answered(calls, "a", Outcome(kind="ops", body=b"x" * 10_000, retry_after="7"))

    smaller = calls.shrink("a")

    assert smaller is not None
    assert calls.waiting() == [smaller]
    reply = SDKResponse.FromString(smaller.payload)
    assert (reply.request_id, reply.run_id) == ("a", "run-1")
    assert Status(reply.status) is Status.ERROR
    assert reply.no_retry
    assert not reply.HasField("retry_after")
    error = json.loads(reply.body)
    assert error["code"] == "output_too_large"
    assert "bytes" in error["message"]
    assert len(smaller.payload) <= SHRUNK_BYTES_MAX


def test_small_reply_that_is_too_large_is_given_up() -> None:
    calls = taken("a")
    answered(calls, "a")
    calls.reply_left("a", 0)

    assert calls.shrink("a") is None

    assert calls.waiting_count == 0
    assert calls.due_replies(10**6) == []
    assert calls.shrink("a") is None


def test_shrunk_replies_leave_room_for_others() -> None:
    calls = Calls(waiting_bytes_max=20_000)
    calls.connected(5_000, 0)
    for key in ("a", "b"):
        calls.came(request(key), 0)
    answered(calls, "a", Outcome(kind="result", body=b"x" * 15_000))
    calls.shrink("a")

    answered(calls, "b", Outcome(kind="result", body=b"x" * 15_000))

    assert calls.saturation is None


def test_largest_waiting_reply_is_found() -> None:
    calls = taken("a", "b", "c")
    assert calls.largest_waiting() is None
    for key, size in (("a", 5), ("b", 50), ("c", 10)):
        answered(calls, key, Outcome(kind="result", body=b"x" * size))

    largest = calls.largest_waiting()

    assert largest is not None
    assert largest.request_id == "b"


def test_nothing_to_do_needs_no_wakeup() -> None:
    assert taken().next_wakeup_ms() is None


# --- bounds ---


def test_calls_over_the_limit_are_refused() -> None:
    calls = Calls(calls_max=2)

    assert [calls.came(request(key), 0) for key in "abc"] == [
        Arrival.RUN,
        Arrival.RUN,
        Arrival.REFUSED,
    ]
    assert calls.saturation is Saturation.CALLS
    answered(calls, "a")
    assert calls.saturation is None
    assert calls.came(request("c"), 0) is Arrival.RUN


def test_no_calls_are_taken_while_too_many_bytes_of_replies_wait() -> None:
    calls = Calls(waiting_bytes_max=4_000)
    for key in "abcde":
        calls.came(request(key), 0)
    for key in "abc":
        answered(calls, key, Outcome(kind="result", body=b"x" * 1_000))
    assert calls.saturation is None

    answered(calls, "d", Outcome(kind="result", body=b"x" * 1_000))

    assert calls.saturation is Saturation.REPLIES
    assert calls.came(request("f"), 1) is Arrival.REFUSED
    assert calls.came(request("e"), 1) is Arrival.RUNNING  # what was taken goes on
    assert calls.came(request("a"), 1) is Arrival.DONE


def test_replies_over_their_limit_are_kept() -> None:
    calls = Calls(waiting_bytes_max=1_500)
    for key in "abc":
        calls.came(request(key), 0)
    for key in "abc":
        answered(calls, key, Outcome(kind="result", body=b"x" * 1_000))

    assert [reply.request_id for reply in calls.waiting()] == ["a", "b", "c"]
    assert calls.waiting_bytes == sum(len(reply.payload) for reply in calls.waiting())


def test_calls_are_taken_again_when_there_is_room() -> None:
    calls = Calls(waiting_bytes_max=4_000)
    for key in "abcd":
        calls.came(request(key), 0)
    for key in "abcd":
        answered(calls, key, Outcome(kind="result", body=b"x" * 1_000))

    calls.reply_acked("a", 0)
    assert calls.saturation is Saturation.REPLIES  # just under the limit is not room
    calls.reply_acked("b", 0)

    assert calls.saturation is None
    assert calls.came(request("e"), 1) is Arrival.RUN


def test_shrunk_reply_makes_room() -> None:
    calls = Calls(waiting_bytes_max=10_000)
    calls.came(request("a"), 0)
    answered(calls, "a", Outcome(kind="result", body=b"x" * 15_000))
    assert calls.saturation is Saturation.REPLIES

    calls.shrink("a")

    assert calls.saturation is None


def test_calls_that_end_without_an_outcome_are_forgotten() -> None:
    calls = taken("a")

    calls.dropped("a")
    calls.dropped("a")

    assert calls.running_count == 0
    assert calls.finished("a", DONE) is None


IDS = st.sampled_from("abcd")


class Model(RuleBasedStateMachine):
    """Calls against the plain story of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = Calls(calls_max=3)
        self.calls.connected(5_000, 0)
        self.now_ms = 0
        self.running: dict[str, bool] = {}  # request id -> lost
        self.waiting: set[str] = set()
        self.acked: set[str] = set()
        self.left: set[str] = set()  # on the present socket, and not due since

    @rule(key=IDS)
    def come(self, key: str) -> None:
        arrival = self.calls.came(request(key), self.now_ms)
        if key in self.running:
            assert arrival is (Arrival.REFUSED if self.running[key] else Arrival.RUNNING)
        elif key in self.waiting or key in self.acked:
            assert arrival is Arrival.DONE
            assert self.calls.reply_of(key) is not None
        elif len(self.running) >= 3:
            assert arrival is Arrival.REFUSED
        else:
            assert arrival is Arrival.RUN
            self.running[key] = False

    @rule(key=IDS)
    def finish(self, key: str) -> None:
        payload = self.calls.finished(key, DONE)
        lost = self.running.pop(key, True)
        assert (payload is None) is lost
        if not lost:
            self.waiting.add(key)

    @rule(key=IDS)
    def leave(self, key: str) -> None:
        self.calls.reply_left(key, self.now_ms)
        if key in self.waiting:
            self.left.add(key)

    @rule(key=IDS)
    def shrink(self, key: str) -> None:
        assert self.calls.shrink(key) is None  # they are all small
        self.waiting.discard(key)
        self.left.discard(key)

    @rule(key=IDS)
    def acknowledge(self, key: str) -> None:
        self.calls.reply_acked(key, self.now_ms)
        self.left.discard(key)
        if key in self.waiting:
            self.waiting.remove(key)
            self.acked.add(key)

    @rule(key=IDS)
    def lose(self, key: str) -> None:
        told = self.calls.lease_answered(key, None)
        assert told is (self.running.get(key) is False)
        if told:
            self.running[key] = True

    @rule(ms=st.integers(0, 6_000))
    def wait(self, ms: int) -> None:
        self.now_ms += ms
        extended = [lease(payload)[0] for payload in self.calls.due_extensions(self.now_ms)]
        assert all(self.running[key] is False for key in extended)
        for reply in self.calls.due_replies(self.now_ms):
            assert SDKResponse.FromString(reply.payload).request_id == reply.request_id
            self.left.remove(reply.request_id)

    @rule()
    def reconnect(self) -> None:
        extended = [lease(one)[0] for one in self.calls.connected(5_000, self.now_ms)]
        self.left.clear()
        assert sorted(extended) == sorted(key for key, lost in self.running.items() if not lost)

    @invariant()
    def counts(self) -> None:
        assert self.calls.running_count == len(self.running)
        assert {reply.request_id for reply in self.calls.waiting()} == self.waiting
        due_ms = self.calls.next_wakeup_ms()
        assert (due_ms is None) is (not self.running and not self.left)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
