"""The protocol on one socket, told as what the worker sends and what it gets.

Numbers of behaviours are those of the reference, "behaviours to check".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.server.gateway.facts import (
    Acked,
    Checkpointed,
    Close,
    ExtendWanted,
    Gone,
    Heartbeat,
    Paused,
    Quiet,
    Ready,
    Replied,
    SyncWanted,
)
from stepwell.server.gateway.session import (
    CALLS_TRACKED_MAX,
    CLOSE_WAIT_MS,
    DRAIN_IDLE_MS,
    HELD_BYTES_MAX,
    HELD_MESSAGES_MAX,
    HELLO_BYTES_MAX,
    HELLO_WAIT_MS,
    LISTENS_WAIT_MS,
    MESSAGE_BYTES_MAX,
    Phase,
    Session,
    SessionConfig,
)
from stepwell.wire.connect import (
    ConnectMessage,
    GatewayCheckpointAckData,
    GatewayConnectionReadyData,
    Kind,
    WorkerReplyAckData,
    WorkerRequestExtendLeaseAckData,
)
from stepwell.wire.connect import (
    SystemError as SyncFailure,
)
from stepwell.wire.ids import parse_ulid
from tests.unit.server.gateway.messages import (
    HEARTBEAT,
    PAUSE,
    READY,
    REQUEST_ID,
    ack,
    app,
    checkpoint,
    connect,
    envelope,
    extend,
    reply,
)

if TYPE_CHECKING:
    from stepwell.server.gateway.facts import Fact, Output

QUIET_MS = 20_000
SILENCE_MS = 50_000
DRAIN_WAIT_MS = 25_000
LEASE_ID = "01K7T0FPR00000000000000000"
NEW_LEASE_ID = "01K7T0FPR00000000000000001"
GARBAGE = b"\xff\xff\xff"

GOING_AWAY = Close(code=1001, reason="connect_gateway_closing")
INTERNAL = Close(code=1011, reason="connect_internal_error")


class Story:
    """A session, its clock, and what came out of it since the last question."""

    def __init__(self, **config: Any) -> None:
        self.now_ms = 1_000
        self.session = Session(
            SessionConfig(
                authenticate=lambda _id, token, _sync: token == "good",
                heartbeat_interval="10s",
                extend_lease_interval="5s",
                silence_ms=SILENCE_MS,
                quiet_ms=QUIET_MS,
                drain_wait_ms=DRAIN_WAIT_MS,
                **config,
            ),
            self.now_ms,
        )

    def send(self, *messages: bytes) -> None:
        for message in messages:
            self.session.receive(message, self.now_ms)

    def wait(self, ms: int) -> None:
        """Let time pass and wake the session as often as it asks."""
        until_ms = self.now_ms + ms
        while True:
            due_ms = self.session.next_wakeup_ms()
            if due_ms is None or due_ms > until_ms:
                break
            self.now_ms = max(self.now_ms, due_ms)
            self.session.wake(self.now_ms)
        self.now_ms = until_ms

    def output(self) -> Output | None:
        return self.session.take_output()

    def kinds(self) -> list[Kind]:
        """The kinds of the messages to send; there must be nothing else."""
        output = self.output()
        if output is None:
            return []
        assert output.close is None
        return [Kind(ConnectMessage.FromString(message).kind) for message in output.messages]

    def sent(self) -> list[tuple[Kind, bytes]]:
        output = self.output()
        assert output is not None
        messages = [ConnectMessage.FromString(message) for message in output.messages]
        return [(Kind(message.kind), message.payload) for message in messages]

    def close(self) -> Close | None:
        output = self.output()
        return None if output is None else output.close

    def facts(self) -> list[Fact]:
        return self.session.take_facts()


def fresh() -> Story:
    """A socket that has just opened, its HELLO sent."""
    story = Story()
    story.output()
    return story


def syncing(**fields: Any) -> Story:
    """A worker that authenticated; its apps are being registered."""
    story = fresh()
    story.send(connect(**fields))
    assert [type(fact) for fact in story.facts()] == [SyncWanted]
    return story


def ready(**fields: Any) -> Story:
    """A worker that takes calls."""
    story = syncing(**fields)
    story.session.synced(story.now_ms)
    story.facts()
    story.output()
    return story


# --- handshake ---


def test_the_hello_is_the_first_message_and_empty() -> None:  # 6
    output = Story().output()
    assert output is not None
    assert output.messages == [b""]


def test_a_worker_is_ready_before_it_is_told_so() -> None:  # 12
    story = syncing()
    story.session.synced(story.now_ms)
    assert story.facts() == [Ready()]
    ((kind, payload),) = story.sent()
    told = GatewayConnectionReadyData.FromString(payload)
    assert kind is Kind.GATEWAY_CONNECTION_READY
    assert (told.heartbeat_interval, told.extend_lease_interval, told.status_interval) == (
        "10s", "5s", "0s",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("capabilities", "extensions"),
    [
        (b'{"connect":"v1","stepwell":"v1"}', ["reply-is-ack", "checkpoints"]),
        (b'{"connect":"v1","stepwell":"v2"}', []),
        (b'{"connect":"v1"}', []),
        (b'["stepwell"]', []),
        (b"{", []),
        (b"", []),
    ],
)
def test_extensions_are_offered_to_those_who_know_them(
    capabilities: bytes, extensions: list[str]
) -> None:
    story = syncing(capabilities=capabilities)
    story.session.synced(story.now_ms)
    story.facts()
    ((_kind, payload),) = story.sent()
    assert list(GatewayConnectionReadyData.FromString(payload).extensions) == extensions


def test_calls_follow_connection_ready_even_if_they_are_given_at_once() -> None:
    story = syncing()
    story.session.synced(story.now_ms)
    story.session.send_call(REQUEST_ID, b"call")  # what carrying out Ready leads to
    assert story.kinds() == [Kind.GATEWAY_CONNECTION_READY, Kind.GATEWAY_EXECUTOR_REQUEST]


def listening_late() -> Story:
    """A worker that was told that it is ready, and pinged."""
    story = syncing(sdk_language="typescript")
    story.session.synced(story.now_ms)
    output = story.output()
    assert output is not None
    assert output.ping
    assert len(output.messages) == 1
    return story


def test_a_worker_that_listens_late_gets_no_call_before_it_answers_a_ping() -> None:
    story = listening_late()
    story.send(HEARTBEAT)
    assert story.facts() == [Heartbeat()]
    story.session.send_call(REQUEST_ID, b"call")
    assert story.kinds() == [Kind.GATEWAY_HEARTBEAT]
    story.session.receive_pong(story.now_ms)
    story.session.receive_pong(story.now_ms)
    assert story.facts() == [Ready()]
    story.session.send_call(REQUEST_ID, b"call")
    assert story.kinds() == [Kind.GATEWAY_EXECUTOR_REQUEST]


def test_a_ping_is_not_waited_for_any_longer_than_a_second() -> None:
    story = listening_late()
    story.wait(LISTENS_WAIT_MS - 1)
    assert story.facts() == []
    story.wait(1)
    assert story.facts() == [Ready()]
    story.session.receive_pong(story.now_ms)
    assert story.facts() == []


def test_a_worker_that_leaves_before_it_answers_the_ping_gets_no_calls() -> None:
    story = listening_late()
    story.send(PAUSE)
    story.session.receive_pong(story.now_ms)
    story.wait(LISTENS_WAIT_MS)
    assert story.facts() == [Paused()]


def test_a_gateway_that_leaves_does_not_wait_for_the_answer_to_a_ping() -> None:
    story = listening_late()
    story.session.begin_drain(story.now_ms)
    story.session.receive_pong(story.now_ms)
    assert story.facts() == [Paused()]
    assert story.kinds() == [Kind.GATEWAY_CLOSING]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"sdk_language": "py"}, id="another-language"),
        pytest.param(
            {"sdk_language": "typescript", "worker_manual_readiness_ack": True}, id="says-so-itself"
        ),
    ],
)
def test_other_workers_are_not_pinged(fields: dict[str, Any]) -> None:
    story = syncing(**fields)
    story.session.synced(story.now_ms)
    output = story.output()
    assert output is not None
    assert not output.ping


def test_a_worker_with_manual_readiness_gets_no_call_before_it_says_so() -> None:  # 14
    story = ready(worker_manual_readiness_ack=True)
    story.send(HEARTBEAT)
    assert story.facts() == [Heartbeat()]
    story.session.send_call(REQUEST_ID, b"call")
    assert story.kinds() == [Kind.GATEWAY_HEARTBEAT]
    story.send(READY)
    assert story.facts() == [Ready()]
    story.session.send_call(REQUEST_ID, b"call")
    assert story.kinds() == [Kind.GATEWAY_EXECUTOR_REQUEST]


def test_readiness_said_twice_is_one_fact() -> None:
    story = ready(worker_manual_readiness_ack=True)
    story.send(READY, READY)
    assert story.facts() == [Ready()]


@pytest.mark.parametrize("first", [HEARTBEAT, READY, PAUSE, ack(), b"", envelope(77)])
def test_another_first_message_ends_the_handshake(first: bytes) -> None:  # 7
    story = fresh()
    story.send(first)
    assert story.close() == Close(code=1008, reason="connect_worker_hello_invalid_msg")
    assert [type(fact) for fact in story.facts()] == [Gone]


@pytest.mark.parametrize("early", [reply(), extend(LEASE_ID)])
def test_what_the_python_worker_may_send_too_early_is_skipped(early: bytes) -> None:
    story = fresh()
    story.send(early)
    assert story.output() is None
    story.send(connect())
    assert [type(fact) for fact in story.facts()] == [SyncWanted]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (envelope(Kind.WORKER_CONNECT, GARBAGE), "connect_worker_hello_invalid_payload"),
        (connect(connection_id="x"), "connect_worker_hello_invalid_payload"),
        (connect(instance_id=""), "connect_worker_hello_invalid_payload"),
        (connect(session_token=""), "connect_authentication_failed"),
        (
            connect(*[app(f"app{number}") for number in range(11)]),
            "connect_too_many_apps_per_connection",
        ),
    ],
)
def test_a_bad_hello_is_refused_with_its_reason(message: bytes, reason: str) -> None:  # 8, 9, 10
    story = fresh()
    story.send(message)
    assert story.close() == Close(code=1008, reason=reason)


def test_a_first_message_may_have_less_bytes_than_later_ones() -> None:
    hello = connect()
    room = HELLO_BYTES_MAX - len(hello)
    story = fresh()
    assert story.session.message_bytes_max == HELLO_BYTES_MAX
    story.send(reply(body=b"x" * (HELLO_BYTES_MAX - 100)))  # skipped, and nothing else
    # Field 100 of the envelope, which nobody knows: the message is right but for its size.
    story.send(hello + b"\xa2\x06" + varint(room - 6) + b"x" * (room - 6))
    assert [type(fact) for fact in story.facts()] == [SyncWanted]
    assert story.session.message_bytes_max == MESSAGE_BYTES_MAX
    story = fresh()
    story.send(hello + b"\xa2\x06" + varint(room - 5) + b"x" * (room - 5))
    assert story.close() == Close(code=1009, reason=f"read limited at {HELLO_BYTES_MAX + 1} bytes")
    assert story.facts() == [Gone(reason="MESSAGE_TOO_LARGE")]


def varint(number: int) -> bytes:
    """In four bytes, as a size of megabytes has."""
    return bytes(number >> shift & 0x7F | (0x80 if shift < 21 else 0) for shift in (0, 7, 14, 21))


def test_a_stranger_that_makes_room_is_ended_at_once_with_a_reason_to_come_back() -> None:
    story = fresh()
    story.session.make_room(story.now_ms)
    output = story.output()
    assert output is not None
    assert output.close == Close(code=1008, reason="connect_internal_error")
    assert output.end


def test_a_stranger_that_is_being_refused_makes_room_too() -> None:
    story = fresh()
    story.send(HEARTBEAT)
    assert story.close() == Close(code=1008, reason="connect_worker_hello_invalid_msg")
    story.session.make_room(story.now_ms)
    output = story.output()
    assert output is not None
    assert (output.close, output.end) == (None, True)


def test_a_silent_socket_is_closed_after_five_seconds() -> None:  # 11
    story = fresh()
    story.wait(HELLO_WAIT_MS - 1)
    assert story.output() is None
    story.wait(1)
    assert story.close() == Close(code=1008, reason="connect_worker_hello_timeout")


def test_skipped_messages_do_not_extend_the_wait_for_the_hello() -> None:
    story = fresh()
    story.wait(HELLO_WAIT_MS - 1)
    story.send(reply())
    story.wait(1)
    assert story.close() == Close(code=1008, reason="connect_worker_hello_timeout")


def test_a_refused_sync_tells_the_reason_twice() -> None:  # 13
    story = syncing()
    story.session.sync_failed("function_invalid", "At least one function is invalid: x", 0)
    output = story.output()
    assert output is not None
    failure = ConnectMessage.FromString(output.messages[0])
    told = SyncFailure.FromString(failure.payload)
    assert Kind(failure.kind) is Kind.SYNC_FAILED
    assert (told.code, told.message) == (
        "function_invalid", "At least one function is invalid: x",
    )  # fmt: skip
    assert output.close == Close(code=1008, reason="function_invalid")


@pytest.mark.parametrize("code", ["connect_internal_error", ""])
def test_a_sync_that_failed_through_us_lets_the_worker_come_back(code: str) -> None:
    story = syncing()
    story.session.sync_failed(code, "the server cannot store this now", story.now_ms)
    assert story.close() == INTERNAL


def test_what_comes_during_the_sync_is_handled_after_it() -> None:
    story = syncing()
    story.send(reply(status=1, body=b"1"), HEARTBEAT, ack("other"), PAUSE)
    assert story.facts() == []
    assert story.output() is None
    story.session.synced(story.now_ms)
    assert [type(fact) for fact in story.facts()] == [Ready, Replied, Acked, Paused]


def test_what_is_held_during_the_sync_is_bounded() -> None:
    story = syncing()
    story.send(*[ack(str(number)) for number in range(2 * HELD_MESSAGES_MAX)])
    story.session.synced(story.now_ms)
    assert len(story.facts()) == 1 + HELD_MESSAGES_MAX

    story = syncing()
    story.send(reply(body=b"x" * (HELD_BYTES_MAX - 100)), reply("other", body=b"x" * 100))
    story.session.synced(story.now_ms)
    assert len(story.facts()) == 2


def test_a_worker_that_left_during_the_sync_is_not_made_ready() -> None:
    story = syncing()
    story.session.peer_closed(1000, "", story.now_ms)
    story.facts()
    story.session.synced(story.now_ms)
    story.session.sync_failed("function_invalid", "", story.now_ms)
    assert story.facts() == []


# --- calls, replies, leases ---


def test_a_call_is_sent_and_its_reply_acknowledged_when_it_is_stored() -> None:  # 16
    story = ready()
    story.session.send_call(REQUEST_ID, b"call")
    ((kind, payload),) = story.sent()
    assert (kind, payload) == (Kind.GATEWAY_EXECUTOR_REQUEST, b"call")
    story.send(ack(), reply(status=1, body=b'{"done":true}', retry_after="5", request_version=2))
    assert story.facts() == [
        Acked(request_id=REQUEST_ID),
        Replied(
            request_id=REQUEST_ID,
            status=1,
            body=b'{"done":true}',
            no_retry=False,
            retry_after="5",
            request_version=2,
        ),
    ]
    assert story.output() is None
    story.session.reply_committed(REQUEST_ID, story.now_ms)
    ((kind, payload),) = story.sent()
    assert kind is Kind.WORKER_REPLY_ACK
    assert WorkerReplyAckData.FromString(payload).request_id == REQUEST_ID


def test_each_of_two_equal_replies_is_acknowledged() -> None:  # 19
    story = ready()
    story.send(reply(), reply())
    assert len(story.facts()) == 2
    story.session.reply_committed(REQUEST_ID, story.now_ms)
    story.session.reply_committed(REQUEST_ID, story.now_ms)
    assert story.kinds() == [Kind.WORKER_REPLY_ACK, Kind.WORKER_REPLY_ACK]


def test_a_reply_that_is_not_stored_is_not_acknowledged_and_the_socket_stays() -> None:
    story = ready()
    story.send(reply())
    story.session.reply_not_stored(story.now_ms)
    assert story.output() is None
    assert story.session.phase is Phase.READY


def test_an_undecodable_reply_is_our_trouble_and_an_undecodable_ack_the_workers() -> None:  # 39
    story = ready()
    story.send(envelope(Kind.WORKER_REPLY, GARBAGE))
    assert story.close() == INTERNAL
    story = ready()
    story.send(envelope(Kind.WORKER_REQUEST_ACK, GARBAGE))
    assert story.close() == Close(code=1008, reason="connect_worker_request_ack_invalid_payload")


OURS = {"capabilities": b'{"connect":"v1","stepwell":"v1"}'}


def test_a_checkpoint_is_told_and_answered_when_it_is_stored() -> None:
    story = ready(**OURS)
    story.send(checkpoint(run_id="run", seq=2, steps=b"[1]"))
    [fact] = story.facts()
    assert fact == Checkpointed(request_id=REQUEST_ID, run_id="run", seq=2, steps=b"[1]")
    assert isinstance(fact, Checkpointed)
    assert story.output() is None
    for refusal in (None, "call_stale"):
        story.session.checkpoint_answered(fact, refusal)
        ((kind, payload),) = story.sent()
        assert kind is Kind.GATEWAY_CHECKPOINT_ACK
        answer = GatewayCheckpointAckData.FromString(payload)
        assert (answer.request_id, answer.seq) == (REQUEST_ID, 2)
        assert answer.refusal == (refusal or "")


def test_a_checkpoint_says_that_its_call_was_taken() -> None:
    story = ready(**OURS)
    story.session.send_call(REQUEST_ID, b"call")
    story.send(checkpoint(), PAUSE)
    story.facts()
    story.session.lost()
    assert story.facts() == [Gone(reason="UNEXPECTED")]  # with a call in flight


def test_checkpoints_are_taken_while_the_gateway_leaves() -> None:
    story = ready(**OURS)
    story.session.begin_drain(story.now_ms)
    story.facts()
    story.send(checkpoint())
    assert [type(fact) for fact in story.facts()] == [Checkpointed]


def test_a_checkpoint_of_a_worker_that_does_not_know_them_is_ignored() -> None:
    story = ready()
    story.send(checkpoint(), envelope(Kind.WORKER_CHECKPOINT, GARBAGE))
    assert story.facts() == []
    assert story.session.phase is Phase.READY


def test_an_undecodable_checkpoint_ends_the_connection() -> None:
    story = ready(**OURS)
    story.send(envelope(Kind.WORKER_CHECKPOINT, GARBAGE))
    assert story.close() == INTERNAL


def test_nothing_is_answered_once_the_close_frame_is_sent() -> None:
    story = ready(**OURS)
    story.send(checkpoint())
    [fact] = story.facts()
    assert isinstance(fact, Checkpointed)
    story.send(envelope(Kind.WORKER_CHECKPOINT, GARBAGE))
    assert story.close() == INTERNAL
    story.session.checkpoint_answered(fact, None)
    assert story.output() is None


@pytest.mark.parametrize("kind", [16, 77, 100, Kind.GATEWAY_CLOSING, Kind.WORKER_STATUS])
def test_an_unknown_kind_is_ignored(kind: int) -> None:  # 39
    story = ready()
    story.send(envelope(kind, GARBAGE))
    assert story.output() is None
    assert story.facts() == []


def test_a_second_hello_is_ignored() -> None:
    story = ready()
    story.send(connect(connection_id="01K7T09A4B0000000000000001"))
    assert story.output() is None
    assert story.facts() == []


@pytest.mark.parametrize("message", [GARBAGE, b"\x12\x05ab"])
def test_what_is_no_envelope_ends_the_connection(message: bytes) -> None:
    story = ready()
    story.send(message)
    assert story.close() == Close(code=1007, reason="failed to unmarshal Protobuf")


def test_an_extension_is_answered_with_the_new_lease() -> None:  # 27
    story = ready()
    story.send(extend(LEASE_ID, account_id="a", env_id="e", function_slug="shop-ship"))
    (wanted,) = story.facts()
    assert isinstance(wanted, ExtendWanted)
    assert (wanted.request_id, wanted.lease_id) == (REQUEST_ID, parse_ulid(LEASE_ID))
    story.session.lease_extended(wanted, NEW_LEASE_ID)
    ((kind, payload),) = story.sent()
    told = WorkerRequestExtendLeaseAckData.FromString(payload)
    assert kind is Kind.WORKER_REQUEST_EXTEND_LEASE_ACK
    assert (told.request_id, told.new_lease_id) == (REQUEST_ID, NEW_LEASE_ID)
    assert (told.account_id, told.env_id, told.function_slug) == ("a", "e", "shop-ship")


def test_a_lost_lease_is_answered_without_one() -> None:  # 29
    story = ready()
    story.send(extend(LEASE_ID))
    (wanted,) = story.facts()
    assert isinstance(wanted, ExtendWanted)
    story.session.lease_extended(wanted, None)
    ((_kind, payload),) = story.sent()
    assert not WorkerRequestExtendLeaseAckData.FromString(payload).HasField("new_lease_id")
    assert story.session.phase is Phase.READY


@pytest.mark.parametrize(
    "message",
    [extend(""), extend("short"), envelope(Kind.WORKER_REQUEST_EXTEND_LEASE, GARBAGE)],
)
def test_an_extension_without_a_ulid_ends_the_connection(message: bytes) -> None:  # 30
    story = ready()
    story.send(message)
    assert story.close() == Close(
        code=1008, reason="connect_worker_request_extend_lease_invalid_payload"
    )


# --- life and silence ---


def test_a_heartbeat_is_answered_and_keeps_the_connection() -> None:  # 32
    story = ready()
    for _ in range(10):
        story.wait(SILENCE_MS - 1)
        story.send(HEARTBEAT)
        assert story.facts() == [Quiet(), Ready(), Heartbeat()]
        assert story.kinds() == [Kind.GATEWAY_HEARTBEAT]


def test_a_silent_worker_is_closed_with_a_reason_on_which_it_comes_back() -> None:  # 33
    story = ready()
    story.wait(SILENCE_MS - 1)
    assert story.output() is None
    story.wait(1)
    assert story.close() == INTERNAL
    assert story.facts() == [Quiet(), Gone(reason="CONSECUTIVE_HEARTBEATS_MISSED")]


def test_a_paused_worker_takes_no_calls_and_is_served_otherwise() -> None:  # 34
    story = ready()
    story.send(PAUSE)
    assert story.facts() == [Paused()]
    story.session.send_call(REQUEST_ID, b"call")
    assert story.output() is None
    story.send(HEARTBEAT, extend(LEASE_ID), reply())
    beat, wanted, replied = story.facts()
    assert isinstance(beat, Heartbeat)
    assert isinstance(wanted, ExtendWanted)
    assert isinstance(replied, Replied)
    story.session.lease_extended(wanted, NEW_LEASE_ID)
    story.session.reply_committed(REQUEST_ID, story.now_ms)
    assert story.kinds() == [
        Kind.GATEWAY_HEARTBEAT, Kind.WORKER_REQUEST_EXTEND_LEASE_ACK, Kind.WORKER_REPLY_ACK,
    ]  # fmt: skip


def test_a_paused_worker_stays_paused() -> None:
    story = ready()
    story.send(PAUSE, PAUSE, READY, HEARTBEAT)
    assert story.facts() == [Paused(), Heartbeat()]


# --- endings ---


@pytest.mark.parametrize(
    ("code", "reason", "answer", "stored"),
    [
        (1000, "WORKER_SHUTDOWN", Close(code=1000, reason="WORKER_SHUTDOWN"), "WORKER_SHUTDOWN"),
        (1000, "", Close(code=1000, reason="closed by the worker"), "UNEXPECTED"),
        (0, "", Close(code=1000, reason="closed by the worker"), "UNEXPECTED"),
        (4001, "UNEXPECTED", Close(code=4001, reason="UNEXPECTED"), "UNEXPECTED"),
        (1000, "bye", Close(code=1000, reason="bye"), "bye"),
    ],
)
def test_a_close_is_answered_in_kind_and_its_reason_kept(  # 35
    code: int, reason: str, answer: Close, stored: str
) -> None:
    story = ready()
    story.session.peer_closed(code, reason, story.now_ms)
    output = story.output()
    assert output is not None
    assert (output.close, output.end) == (answer, True)
    assert story.facts() == [Gone(reason=stored)]


def test_paused_with_nothing_in_flight_and_closed_is_an_orderly_shutdown() -> None:
    story = ready()
    story.session.send_call(REQUEST_ID, b"call")
    story.send(ack(), PAUSE, reply())
    story.facts()
    story.session.reply_committed(REQUEST_ID, story.now_ms)
    story.session.peer_closed(1000, "", story.now_ms)
    assert story.facts() == [Gone(reason="WORKER_SHUTDOWN")]


def test_a_call_that_was_not_acknowledged_before_the_pause_is_not_in_flight() -> None:
    story = ready()
    story.session.send_call(REQUEST_ID, b"call")
    story.send(PAUSE)
    story.facts()
    story.session.lost()
    assert story.facts() == [Gone(reason="WORKER_SHUTDOWN")]


def test_paused_with_a_call_in_flight_and_cut_off_is_unexpected() -> None:
    story = ready()
    story.session.send_call(REQUEST_ID, b"call")
    story.send(ack(), PAUSE)
    story.facts()
    story.session.lost()
    assert story.facts() == [Gone(reason="UNEXPECTED")]
    assert story.session.phase is Phase.CLOSED
    assert story.session.next_wakeup_ms() is None


def test_replies_that_came_before_the_close_are_acknowledged_before_it_is_answered() -> None:
    story = ready()
    story.send(reply("one"), reply("two"))
    story.session.peer_closed(1000, "", story.now_ms)
    assert [type(fact) for fact in story.facts()] == [Replied, Replied, Gone]
    assert story.output() is None
    story.session.reply_committed("one", story.now_ms)
    assert story.kinds() == [Kind.WORKER_REPLY_ACK]
    story.session.reply_not_stored(story.now_ms)
    output = story.output()
    assert output is not None
    assert (output.messages, output.end) == ([], True)


def test_a_close_is_answered_though_a_reply_is_never_stored() -> None:
    story = ready()
    story.send(reply())
    story.session.peer_closed(1000, "", story.now_ms)
    story.output()
    story.wait(CLOSE_WAIT_MS)
    output = story.output()
    assert output is not None
    assert output.close is not None
    assert output.end


def test_what_a_closing_worker_still_sends_is_ignored() -> None:
    story = ready()
    story.send(GARBAGE)
    story.output()
    story.facts()
    story.send(HEARTBEAT, reply(), GARBAGE)
    story.session.receive_garbage(story.now_ms)
    story.session.receive_oversize(story.now_ms)
    story.session.receive_broken("", story.now_ms)
    story.session.fail(story.now_ms)
    assert story.output() is None
    assert story.facts() == []


def test_tcp_ends_when_both_close_frames_are_out() -> None:
    story = ready()
    story.session.fail(story.now_ms)
    output = story.output()
    assert output is not None
    assert (output.close, output.end) == (INTERNAL, False)
    story.session.peer_closed(1011, "connect_internal_error", story.now_ms)
    output = story.output()
    assert output is not None
    assert (output.close, output.end) == (None, True)


def test_tcp_ends_though_the_worker_never_answers_the_close() -> None:
    story = ready()
    story.session.fail(story.now_ms)
    story.output()
    for _ in range(2):  # the first asks to end in good order, the second cuts
        story.wait(CLOSE_WAIT_MS)
        output = story.output()
        assert output is not None
        assert output.end


def test_an_oversize_message_is_named_in_close_and_history() -> None:  # 38
    story = ready()
    story.session.receive_oversize(story.now_ms)
    assert story.close() == Close(code=1009, reason="read limited at 8388609 bytes")
    assert story.facts() == [Gone(reason="MESSAGE_TOO_LARGE")]


def test_broken_websocket_rules_are_a_protocol_error() -> None:
    story = ready()
    story.session.receive_broken("a reserved bit is set", story.now_ms)
    assert story.close() == Close(code=1002, reason="a reserved bit is set")


def test_so_is_a_text_that_is_none_with_a_code_of_its_own() -> None:
    story = ready()
    story.session.receive_broken("no UTF-8", story.now_ms, 1007)
    assert story.close() == Close(code=1007, reason="no UTF-8")


def test_a_socket_that_is_turned_away_gets_no_hello() -> None:
    story = Story()
    story.session.turn_away(1001, "connect_gateway_closing", story.now_ms)
    output = story.output()
    assert output is not None
    assert (output.messages, output.close) == ([], GOING_AWAY)


# --- a silent worker ---


def test_a_silent_worker_gets_no_calls_until_it_is_heard_again() -> None:
    story = ready()
    story.wait(QUIET_MS - 1)
    assert story.facts() == []
    story.wait(1)
    assert story.facts() == [Quiet()]
    story.session.send_call(REQUEST_ID, b"call")
    assert story.output() is None
    story.send(HEARTBEAT)
    assert story.facts() == [Ready(), Heartbeat()]
    story.output()
    story.session.send_call(REQUEST_ID, b"call")
    assert story.kinds() == [Kind.GATEWAY_EXECUTOR_REQUEST]


def test_a_worker_that_beats_is_never_silent() -> None:
    story = ready()
    for _ in range(20):
        story.wait(QUIET_MS // 2)
        story.send(HEARTBEAT)
    assert story.facts() == [Heartbeat()] * 20


def test_a_silent_worker_that_pauses_takes_no_calls_afterwards() -> None:
    story = ready()
    story.wait(QUIET_MS)
    story.send(PAUSE)
    assert story.facts() == [Quiet(), Ready(), Paused()]
    story.send(HEARTBEAT)
    assert story.facts() == [Heartbeat()]


# --- the gateway leaves ---


def test_a_drain_tells_the_worker_and_waits_for_its_calls() -> None:  # 36
    story = ready()
    story.session.send_call(REQUEST_ID, b"call")
    story.output()
    story.send(ack())
    story.facts()
    story.session.begin_drain(story.now_ms)
    story.session.begin_drain(story.now_ms)
    assert story.facts() == [Paused()]
    assert story.kinds() == [Kind.GATEWAY_CLOSING]
    story.session.send_call(REQUEST_ID, b"call")
    assert story.output() is None
    story.wait(DRAIN_WAIT_MS - 1)
    assert story.output() is None
    story.wait(1)
    assert story.close() == GOING_AWAY
    assert story.facts() == [Gone(reason="GATEWAY_DRAINING")]


@pytest.mark.parametrize("unacknowledged", [False, True])
def test_a_drain_soon_ends_a_worker_without_calls(unacknowledged: bool) -> None:
    story = ready()
    if unacknowledged:
        story.session.send_call(REQUEST_ID, b"call")
    story.session.begin_drain(story.now_ms)
    story.output()
    story.wait(DRAIN_IDLE_MS - 1)
    assert story.output() is None
    story.wait(1)
    assert story.close() == GOING_AWAY


def test_a_drain_soon_ends_a_worker_whose_last_reply_is_stored() -> None:
    story = ready()
    story.session.send_call(REQUEST_ID, b"call")
    story.send(ack())
    story.session.begin_drain(story.now_ms)
    story.send(reply())
    story.output()
    story.wait(DRAIN_IDLE_MS)
    assert story.output() is None  # the reply is not stored yet
    story.session.reply_committed(REQUEST_ID, story.now_ms)
    story.wait(DRAIN_IDLE_MS)
    assert story.close() == GOING_AWAY


def test_a_draining_worker_is_served() -> None:  # 37
    story = ready()
    story.session.begin_drain(story.now_ms)
    story.facts()
    story.output()
    story.send(HEARTBEAT, reply())
    assert [type(fact) for fact in story.facts()] == [Heartbeat, Replied]
    story.session.reply_committed(REQUEST_ID, story.now_ms)
    assert story.kinds() == [Kind.GATEWAY_HEARTBEAT, Kind.WORKER_REPLY_ACK]


def test_a_worker_that_becomes_ready_during_a_drain_is_sent_away() -> None:
    story = ready(worker_manual_readiness_ack=True)
    story.session.begin_drain(story.now_ms)
    story.output()
    story.send(READY)
    assert story.close() == GOING_AWAY


@pytest.mark.parametrize("begin", [fresh, syncing])
def test_a_handshake_is_cut_short_by_a_drain(begin: Any) -> None:
    story = begin()
    story.session.begin_drain(story.now_ms)
    assert story.close() == GOING_AWAY


def test_a_worker_that_leaves_during_a_drain_left_because_of_it() -> None:
    story = ready()
    story.session.begin_drain(story.now_ms)
    story.facts()
    story.session.lost()
    assert story.facts() == [Gone(reason="GATEWAY_DRAINING")]


def test_shutting_down_closes_at_once() -> None:
    story = ready()
    story.session.shut(story.now_ms)
    assert story.close() == GOING_AWAY


def test_the_memory_of_unanswered_calls_is_bounded() -> None:
    story = ready()
    for number in range(CALLS_TRACKED_MAX + 1):
        story.session.send_call(str(number), b"")
    story.send(ack("0"), PAUSE)  # the oldest is forgotten, so nothing is in flight
    story.facts()
    story.session.lost()
    assert story.facts() == [Gone(reason="WORKER_SHUTDOWN")]


def test_waking_too_early_does_nothing() -> None:
    story = ready()
    story.session.wake(story.now_ms)
    assert story.output() is None
    assert story.facts() == []


MESSAGES = [
    b"", GARBAGE, HEARTBEAT, READY, PAUSE, connect(), connect(session_token=""), ack(), reply(),
    extend(LEASE_ID), extend("x"), envelope(77), envelope(Kind.WORKER_REPLY, GARBAGE),
]  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(MESSAGES), st.binary(max_size=40), st.integers(0, 8))))
def test_whatever_happens_phases_go_forward_and_a_close_frame_is_the_last_word(
    steps: list[bytes | int],
) -> None:
    story = Story()
    session = story.session
    phase = Phase.HANDSHAKING
    closed = gone = 0
    for step in steps:
        match step:
            case bytes():
                story.send(step)
            case 0:
                session.synced(story.now_ms) if session.hello else None
            case 1:
                session.sync_failed("code", "text", story.now_ms) if session.hello else None
            case 2:
                session.begin_drain(story.now_ms)
            case 3:
                session.peer_closed(1000, "", story.now_ms)
            case 4:
                session.send_call(REQUEST_ID, b"")
            case 5:
                session.fail(story.now_ms)
            case 6:
                session.lost()
            case _:
                story.wait(step * 3_000)
        for fact in story.facts():
            gone += isinstance(fact, Gone)
            if isinstance(fact, Replied):
                session.reply_committed(fact.request_id, story.now_ms)
            elif isinstance(fact, ExtendWanted):
                session.lease_extended(fact, None)
        output = story.output()
        if output is not None:
            assert not (closed and output.messages)
            closed += output.close is not None
        assert session.phase >= phase
        phase = session.phase
    assert closed <= 1
    assert gone == (phase >= Phase.DISCONNECTING)
