"""The worker's side of the protocol on one socket, told as messages in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.connect.session import (
    HELLO_WAIT_MS,
    READY_WAIT_MS,
    REPLIES_BYTES,
    REPLY_AS_ACK_BYTES,
    CallCame,
    CheckpointAnswered,
    Close,
    Draining,
    Fact,
    LeaseAnswered,
    Over,
    Phase,
    Ready,
    ReplyAcked,
    Session,
    SyncFailed,
)
from stepwell.wire.connect import (
    CHECKPOINTS,
    REPLY_IS_ACK,
    ConnectMessage,
    GatewayCheckpointAckData,
    GatewayConnectionReadyData,
    Kind,
    WorkerReplyAckData,
    WorkerRequestExtendLeaseAckData,
)
from stepwell.wire.connect import (
    SystemError as SyncError,
)
from tests.unit.connect.gateway import request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

HELLO = b"the hello"


def message(kind: int, payload: Message | bytes = b"") -> bytes:
    raw = payload if isinstance(payload, bytes) else payload.SerializeToString()
    return ConnectMessage(kind=kind, payload=raw).SerializeToString()  # type: ignore[arg-type]


def ready(heartbeat: str = "10s", extend: str = "5s", extensions: Sequence[str] = ()) -> bytes:
    data = GatewayConnectionReadyData(
        heartbeat_interval=heartbeat, extend_lease_interval=extend, extensions=extensions
    )
    return message(Kind.GATEWAY_CONNECTION_READY, data)


def sent(session: Session) -> list[tuple[Kind, bytes]]:
    """What the session has sent since the last look, as kinds and payloads."""
    output = session.take_output()
    if output is None:
        return []
    found = []
    session.messages_left()
    for data in (*output.messages, *(reply for _, reply in output.replies)):
        envelope = ConnectMessage.FromString(data)
        found.append((Kind(envelope.kind), envelope.payload))
    return found


def closing(session: Session) -> Close | None:
    output = session.take_output()
    return None if output is None else output.close


def active(
    now_ms: int = 0,
    heartbeat: str = "10s",
    extend: str = "5s",
    extensions: Sequence[str] = (),
) -> Session:
    """A session whose handshake is complete."""
    session = Session(HELLO, now_ms)
    session.receive(b"", now_ms)
    session.receive(ready(heartbeat, extend, extensions), now_ms)
    session.take_facts()
    session.take_output()
    return session


# --- handshake ---


def test_empty_message_is_the_hello_and_is_answered() -> None:
    session = Session(HELLO, 0)
    assert sent(session) == []

    session.receive(b"", 10)

    assert sent(session) == [(Kind.WORKER_CONNECT, HELLO)]
    assert session.phase is Phase.AWAIT_READY
    assert session.take_facts() == []


def test_ready_completes_the_handshake() -> None:
    session = Session(HELLO, 0)
    session.receive(b"", 0)

    session.receive(ready(extend="7s"), 20)

    assert session.take_facts() == [Ready(extend_lease_ms=7_000)]
    assert session.phase is Phase.ACTIVE


@pytest.mark.parametrize(
    ("text", "ms"),
    [("30s", 30_000), ("2m0s", 120_000), ("", 5_000), ("0s", 5_000), ("soon", 5_000), ("1ms", 100)],
)
def test_advertised_interval(text: str, ms: int) -> None:
    session = Session(HELLO, 0)
    session.receive(b"", 0)

    session.receive(ready(extend=text), 0)

    assert session.take_facts() == [Ready(extend_lease_ms=ms)]


def test_gateway_that_says_nothing_is_left() -> None:
    session = Session(HELLO, 100)
    assert session.next_wakeup_ms() == 100 + HELLO_WAIT_MS

    session.wake(99 + HELLO_WAIT_MS)
    assert session.take_facts() == []
    session.wake(100 + HELLO_WAIT_MS)

    assert session.take_facts() == [Over(reason="the gateway said nothing")]
    assert closing(session) == Close(code=4001, reason="UNEXPECTED")
    assert session.next_wakeup_ms() is None


def test_gateway_that_does_not_become_ready_is_left() -> None:
    session = Session(HELLO, 0)
    session.receive(b"", 100)

    session.wake(HELLO_WAIT_MS)
    assert session.take_facts() == []
    session.wake(100 + READY_WAIT_MS)

    [over] = session.take_facts()
    assert isinstance(over, Over)
    assert closing(session) is not None


@pytest.mark.parametrize(
    "kind",
    [kind for kind in Kind if kind not in (Kind.GATEWAY_HELLO, Kind.GATEWAY_CLOSING)],
)
def test_another_first_message_ends_the_socket(kind: Kind) -> None:
    session = Session(HELLO, 0)

    session.receive(message(kind), 0)

    assert session.take_facts() == [Over(reason=f"{kind.name} came before GATEWAY_HELLO")]
    assert closing(session) == Close(code=4001, reason="UNEXPECTED")


def test_call_before_ready_ends_the_socket() -> None:
    session = Session(HELLO, 0)
    session.receive(b"", 0)
    sent(session)

    session.receive(message(Kind.GATEWAY_EXECUTOR_REQUEST, request()), 0)

    assert session.take_facts() == [Over(reason="a call came before CONNECTION_READY")]
    assert closing(session) == Close(code=4001, reason="UNEXPECTED")


@pytest.mark.parametrize("kind", [Kind.GATEWAY_HELLO, Kind.GATEWAY_HEARTBEAT, 77])
def test_other_messages_before_ready_are_ignored(kind: int) -> None:
    session = Session(HELLO, 0)
    session.receive(b"", 0)
    sent(session)

    session.receive(message(kind), 0)

    assert (session.take_facts(), sent(session)) == ([], [])
    assert session.phase is Phase.AWAIT_READY


def test_refused_apps_are_told() -> None:
    session = Session(HELLO, 0)
    session.receive(b"", 0)

    failure = SyncError(code="function_invalid", message="function ship has no trigger")
    session.receive(message(Kind.SYNC_FAILED, failure), 0)

    assert session.take_facts() == [
        SyncFailed(code="function_invalid", message="function ship has no trigger")
    ]


@pytest.mark.parametrize("greeted", [False, True])
def test_gateway_that_closes_during_the_handshake(greeted: bool) -> None:
    session = Session(HELLO, 0)
    if greeted:
        session.receive(b"", 0)

    session.receive(message(Kind.GATEWAY_CLOSING), 0)

    assert session.take_facts() == [Draining()]


@pytest.mark.parametrize("phase", [Phase.AWAIT_HELLO, Phase.AWAIT_READY])
def test_nothing_is_sent_before_the_handshake_is_complete(phase: Phase) -> None:
    session = Session(HELLO, 0)
    if phase is Phase.AWAIT_READY:
        session.receive(b"", 0)
        sent(session)

    session.ack("r-1", lambda: b"a")
    session.extend_lease(b"l")
    session.reply("r-1", b"r")
    session.pause()

    assert sent(session) == []


# --- active ---


def facts_of(*data: bytes) -> list[Fact]:
    session = active()
    for one in data:
        session.receive(one, 1)
    return session.take_facts()


def test_messages_become_facts_in_their_order() -> None:
    lost = WorkerRequestExtendLeaseAckData(request_id="b")
    kept = WorkerRequestExtendLeaseAckData(request_id="a", new_lease_id="lease-2")

    assert facts_of(
        message(Kind.GATEWAY_EXECUTOR_REQUEST, request("a")),
        message(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK, kept),
        message(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK, lost),
        message(Kind.WORKER_REPLY_ACK, WorkerReplyAckData(request_id="a")),
        message(Kind.GATEWAY_CLOSING),
        message(Kind.GATEWAY_CLOSING),
        message(Kind.GATEWAY_EXECUTOR_REQUEST, request("c")),
    ) == [
        CallCame(request=request("a")),
        LeaseAnswered(request_id="a", lease_id="lease-2"),
        LeaseAnswered(request_id="b", lease_id=None),
        ReplyAcked(request_id="a"),
        Draining(),
        CallCame(request=request("c")),
    ]


@pytest.mark.parametrize(
    "kind",
    [
        Kind.GATEWAY_HELLO,
        Kind.GATEWAY_CONNECTION_READY,
        Kind.SYNC_FAILED,
        Kind.WORKER_CONNECT,
        Kind.WORKER_STATUS,
        16,
        100,
        2**31 - 1,
    ],
)
def test_messages_out_of_order_and_unknown_kinds_are_ignored(kind: int) -> None:
    session = active()

    session.receive(message(kind, b"whatever"), 1)

    assert (session.take_facts(), session.take_output()) == ([], None)
    assert session.phase is Phase.ACTIVE


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"\x0a\x05ab",
        message(Kind.GATEWAY_EXECUTOR_REQUEST, b"\x0a\x05ab"),
        message(Kind.GATEWAY_EXECUTOR_REQUEST, b"\x0a\x02\xff\xff"),
        message(Kind.WORKER_REPLY_ACK, b"\xff"),
        message(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK, b"\xff"),
    ],
)
def test_garbage_ends_the_socket(data: bytes) -> None:
    session = active()

    session.receive(data, 1)

    [over] = session.take_facts()
    assert isinstance(over, Over)
    close = closing(session)
    assert close is not None
    assert close.code == 1007


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_no_bytes_raise(data: list[bytes]) -> None:
    for session in (Session(HELLO, 0), active()):
        for one in data:
            session.receive(one, 1)
        session.take_facts()
        session.take_output()


def test_what_the_worker_says_is_sent_in_its_order_and_replies_last() -> None:
    session = active()

    session.ack("r-0", lambda: b"ack")
    session.extend_lease(b"lease")
    session.reply("r-1", b"reply")
    session.pause()

    assert sent(session) == [
        (Kind.WORKER_REQUEST_ACK, b"ack"),
        (Kind.WORKER_REQUEST_EXTEND_LEASE, b"lease"),
        (Kind.WORKER_PAUSE, b""),
        (Kind.WORKER_REPLY, b"reply"),
    ]
    assert session.take_output() is None


def test_reply_stands_for_its_acknowledgement_where_that_was_agreed() -> None:
    session = active(extensions=[REPLY_IS_ACK, "something-newer"])

    for number in range(3):
        session.ack(f"r-{number}", f"ack {number}".encode)
    session.reply("r-1", b"reply")

    assert sent(session) == [
        (Kind.WORKER_REQUEST_ACK, b"ack 0"),
        (Kind.WORKER_REQUEST_ACK, b"ack 2"),
        (Kind.WORKER_REPLY, b"reply"),
    ]
    assert session.take_output() is None


@pytest.mark.parametrize("size", [REPLY_AS_ACK_BYTES, REPLIES_BYTES])
def test_large_reply_comes_behind_its_acknowledgement(size: int) -> None:
    session = active(extensions=[REPLY_IS_ACK])

    session.ack("first", lambda: b"ack 1")
    session.ack("behind", lambda: b"ack 2")
    session.reply("first", b"x" * size)
    session.reply("behind", b"y" * REPLIES_BYTES)

    assert [message for message in sent(session) if message[0] is Kind.WORKER_REQUEST_ACK] == [
        (Kind.WORKER_REQUEST_ACK, b"ack 1"),
        (Kind.WORKER_REQUEST_ACK, b"ack 2"),
    ]


def test_checkpoints_are_taken_where_that_was_agreed() -> None:
    assert active(extensions=[REPLY_IS_ACK, CHECKPOINTS]).takes_checkpoints
    assert not active(extensions=[REPLY_IS_ACK]).takes_checkpoints
    assert not active().takes_checkpoints


def test_checkpoint_has_its_turn_among_the_replies_and_is_an_acknowledgement_too() -> None:
    session = active(extensions=[REPLY_IS_ACK, CHECKPOINTS])
    session.ack("r-1", lambda: b"ack")
    session.checkpoint("r-1", b"steps")
    session.reply("r-2", b"reply")
    session.checkpoint("r-1", b"more")

    assert sent(session) == [
        (Kind.WORKER_CHECKPOINT, b"steps"),
        (Kind.WORKER_REPLY, b"reply"),
        (Kind.WORKER_CHECKPOINT, b"more"),
    ]


def test_large_checkpoint_comes_behind_its_acknowledgement() -> None:
    session = active(extensions=[REPLY_IS_ACK, CHECKPOINTS])
    session.ack("r-1", lambda: b"ack")
    session.checkpoint("r-1", b"x" * REPLIES_BYTES)

    assert [kind for kind, _ in sent(session)] == [
        Kind.WORKER_REQUEST_ACK,
        Kind.WORKER_CHECKPOINT,
    ]


@pytest.mark.parametrize("refusal", ["", "call_stale"])
def test_answer_to_a_checkpoint_is_told(refusal: str) -> None:
    session = active(extensions=[CHECKPOINTS])
    ack = GatewayCheckpointAckData(request_id="r-1", seq=3, refusal=refusal)
    session.receive(message(Kind.GATEWAY_CHECKPOINT_ACK, ack), 1_000)

    assert session.take_facts() == [CheckpointAnswered(request_id="r-1", number=3, refusal=refusal)]


def test_checkpoint_of_a_socket_that_is_over_goes_nowhere() -> None:
    session = active(extensions=[CHECKPOINTS])
    session.lost()
    session.checkpoint("r-1", b"steps")

    assert session.take_output() is None


def test_acknowledgements_wait_for_the_end_of_a_turn_where_that_was_agreed() -> None:
    for extensions, early in (([REPLY_IS_ACK], []), ([], [Kind.WORKER_REQUEST_ACK])):
        session = active(extensions=extensions)
        session.ack("r-1", lambda: b"ack")
        session.reply("r-0", b"reply")

        first = session.take_output(with_acks=False)
        assert first is not None
        assert [request_id for request_id, _ in first.replies] == ["r-0"]
        assert [int(ConnectMessage.FromString(data).kind) for data in first.messages] == early
        assert session.take_output(with_acks=False) is None
        assert len(sent(session)) == 1 - len(early)


def test_reply_does_not_stand_for_it_elsewhere() -> None:
    session = active()

    session.ack("r-1", lambda: b"ack")
    session.reply("r-1", b"reply")

    assert [kind for kind, _ in sent(session)] == [Kind.WORKER_REQUEST_ACK, Kind.WORKER_REPLY]


def test_large_replies_let_more_urgent_messages_pass() -> None:
    session = active()
    for number in range(3):
        session.reply(f"r-{number}", b"x" * REPLIES_BYTES)

    first = session.take_output()
    session.extend_lease(b"lease")
    second = session.take_output()

    assert first is not None
    assert second is not None
    assert [request_id for request_id, _ in first.replies] == ["r-0"]
    assert len(second.messages) == 1
    assert [request_id for request_id, _ in second.replies] == ["r-1"]


def test_small_replies_leave_together() -> None:
    session = active()
    for number in range(100):
        session.reply(f"r-{number}", b"x")

    output = session.take_output()

    assert output is not None
    assert len(output.replies) == 100


# --- heartbeats ---


def test_heartbeats_follow_the_advertised_interval() -> None:
    session = active(1_000, heartbeat="3s")
    assert session.next_wakeup_ms() == 4_000

    session.wake(3_999)
    assert sent(session) == []
    session.wake(4_000)
    assert sent(session) == [(Kind.WORKER_HEARTBEAT, b"")]
    assert session.next_wakeup_ms() == 7_000


def test_heartbeats_without_an_answer_end_the_socket() -> None:
    session = active(heartbeat="10s")

    session.wake(10_000)
    sent(session)
    session.receive(message(Kind.GATEWAY_HEARTBEAT), 10_001)
    for now_ms in (20_000, 30_000):
        session.wake(now_ms)
        assert sent(session) == [(Kind.WORKER_HEARTBEAT, b"")]
    assert session.take_facts() == []
    session.wake(40_000)

    assert session.take_facts() == [Over(reason="2 heartbeats were not answered")]
    assert closing(session) == Close(code=4001, reason="UNEXPECTED")


def test_heartbeat_that_waits_behind_a_reply_is_not_unanswered() -> None:
    session = active(heartbeat="10s")
    session.reply("r-1", b"large")
    session.take_output()  # and the shell is still writing it

    for now_ms in range(10_000, 100_000, 10_000):
        session.moved()
        session.wake(now_ms)

    assert session.take_facts() == []
    session.messages_left()  # those that went before the reply
    assert sent(session) == [(Kind.WORKER_HEARTBEAT, b"")]
    session.wake(100_000)
    assert session.take_facts() == []


def test_socket_that_takes_nothing_is_dead() -> None:
    session = active(heartbeat="10s")
    session.reply("r-1", b"large")
    session.take_output()

    session.wake(10_000)
    session.moved()
    session.wake(20_000)
    session.wake(30_000)
    assert session.take_facts() == []
    session.wake(40_000)

    assert session.take_facts() == [Over(reason="nothing could be sent for 2 heartbeats")]


def test_heartbeats_go_on_while_the_gateway_drains() -> None:
    session = active(heartbeat="10s")
    session.receive(message(Kind.GATEWAY_CLOSING), 1)

    session.wake(10_000)

    assert sent(session) == [(Kind.WORKER_HEARTBEAT, b"")]


# --- the end ---


def test_close_follows_what_was_said_before() -> None:
    session = active()
    session.reply("r-1", b"reply")

    session.close("WORKER_SHUTDOWN")

    output = session.take_output()
    assert output is not None
    assert len(output.replies) == 1
    assert output.close == Close(code=1000, reason="WORKER_SHUTDOWN")
    assert session.phase is Phase.OVER


def test_close_waits_for_every_reply() -> None:
    session = active()
    for number in range(2):
        session.reply(f"r-{number}", b"x" * REPLIES_BYTES)
    session.close("WORKER_SHUTDOWN")

    outputs = [session.take_output(), session.take_output()]

    assert [output and output.close for output in outputs] == [
        None,
        Close(code=1000, reason="WORKER_SHUTDOWN"),
    ]
    assert session.take_output() is None


def test_nothing_happens_after_the_end() -> None:
    session = active()
    session.lost()

    session.receive(message(Kind.GATEWAY_CLOSING), 1)
    session.receive_garbage()
    session.reply("r-1", b"reply")
    session.wake(10**9)
    session.close("WORKER_SHUTDOWN")

    assert (session.take_facts(), session.take_output()) == ([], None)


def test_text_message_ends_the_socket() -> None:
    session = active()

    session.receive_garbage()

    close = closing(session)
    assert close is not None
    assert close.code == 1007
