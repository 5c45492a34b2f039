"""Facts of a session on their way to the runtime and the book."""

from __future__ import annotations

import pytest

from stepwell.errors import StoreError
from stepwell.server.gateway.connection import PENDING_BYTES_MAX, PENDING_MAX, Connection
from stepwell.server.gateway.facts import Acked, Gone, Heartbeat, Paused, Replied
from stepwell.server.gateway.session import Phase, Session, SessionConfig
from stepwell.server.workers import WorkerBook, WorkerStatus
from stepwell.wire.connect import ConnectMessage, Kind
from tests.unit.server.gateway.messages import CONNECTION_ID, REQUEST_ID, connect, extend, made
from tests.unit.server.gateway.test_registration import Desk
from tests.unit.server.loop import on_loop


class Wire:
    """A socket that only remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.reads = True

    def send_now(self) -> None:
        self.asked.append("now")

    def send_soon(self) -> None:
        self.asked.append("soon")

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Line:
    """One connection with everything around it; it shares what a gateway shares."""

    def __init__(self) -> None:
        desk = Desk()
        self.runtime, self.clock, self.registrar = desk.runtime, desk.clock, desk.registrar
        self.book = WorkerBook()
        self.wire = Wire()
        self.work: list[object] = []
        self.versions_changes = 0
        self.session = Session(
            SessionConfig(
                authenticate=lambda *_: True,
                heartbeat_interval="10s",
                extend_lease_interval="5s",
                quiet_ms=20_000,
                silence_ms=50_000,
                drain_wait_ms=25_000,
            ),
            self.clock.now_ms(),
        )
        self.connection = Connection(
            shared=self,  # type: ignore[arg-type]  # its runtime has the part that is used
            session=self.session,
            wire=self.wire,
            address="203.0.113.9",
        )

    def start(self, work: object) -> None:
        self.work.append(work)

    def versions_changed(self) -> None:
        self.versions_changes += 1

    async def handshake(self) -> None:
        self.session.receive(connect(), self.clock.now_ms())
        self.settle()
        await self.work.pop()  # type: ignore[misc]
        self.settle()
        self.sent()

    def settle(self) -> None:
        self.connection.carry(self.session.take_facts())

    def sent(self) -> list[Kind]:
        output = self.session.take_output()
        messages = [] if output is None else output.messages
        return [Kind(ConnectMessage.FromString(message).kind) for message in messages]

    def reply(self, request_id: str = "r", body: bytes = b"1") -> None:
        self.connection.carry(
            [
                Replied(
                    request_id=request_id,
                    status=1,
                    body=body,
                    no_retry=False,
                    retry_after=None,
                    request_version=2,
                )
            ]
        )


@on_loop
async def test_a_worker_is_in_the_book_from_its_hello_to_its_end() -> None:
    line = Line()
    line.session.receive(connect(), line.clock.now_ms())
    line.settle()
    (info,) = line.book.list()
    assert (info.status, info.ip) == (WorkerStatus.CONNECTED, "203.0.113.9")
    await line.work.pop()  # type: ignore[misc]
    line.settle()
    assert line.book.list()[0].status is WorkerStatus.READY
    line.connection.carry([Paused()])
    assert line.book.list()[0].status is WorkerStatus.DRAINING
    line.connection.carry([Gone(reason="bye")])
    assert line.book.list()[0].status is WorkerStatus.DISCONNECTING
    line.connection.ended()
    (info,) = line.book.list()
    assert (info.status, info.disconnect_reason) == (WorkerStatus.DISCONNECTED, "bye")


@on_loop
async def test_facts_reach_the_runtime_in_their_order() -> None:
    line = Line()
    await line.handshake()
    line.connection.carry([Acked(request_id="a"), Heartbeat()])
    line.reply("b")
    line.connection.carry([Paused(), Gone(reason="bye")])
    assert line.runtime.asked == [
        ("register", ("shop", "v1")),
        ("attach", CONNECTION_ID),
        ("acked", (CONNECTION_ID, "a")),
        ("report", "b"),
        ("detach", CONNECTION_ID),
        ("gone", CONNECTION_ID),
    ]


@on_loop
async def test_calls_leave_with_the_flush() -> None:
    line = Line()
    await line.handshake()
    before = len(line.wire.asked)
    line.connection.send_call(made("r", b"call"))
    assert line.wire.asked[before:] == []
    line.connection.flush()
    assert line.wire.asked[before:] == ["now"]
    assert line.connection.calls_wait
    line.connection.release_calls(1_000)
    assert line.sent() == [Kind.GATEWAY_EXECUTOR_REQUEST]


@on_loop
async def test_calls_are_released_as_far_as_there_is_room_and_at_least_one() -> None:
    line = Line()
    await line.handshake()
    for number in range(6):
        line.connection.send_call(made(str(number), b"x" * 100))
    for room_bytes, calls in ((250, 3), (-5, 1), (1_000, 2)):
        line.connection.release_calls(room_bytes)
        assert len(line.sent()) == calls
    assert not line.connection.calls_wait


@on_loop
async def test_an_acknowledgement_is_ready_before_the_calls_of_its_commit_are_flushed() -> None:
    line = Line()
    await line.handshake()
    line.runtime.holds_reports = True
    line.reply()
    line.runtime.release()
    line.connection.send_call(made("next", b"call"))
    line.connection.release_calls(1_000)
    assert line.sent() == [Kind.WORKER_REPLY_ACK, Kind.GATEWAY_EXECUTOR_REQUEST]


@on_loop
async def test_a_reply_that_is_not_stored_is_not_acknowledged_and_the_session_goes_on() -> None:
    line = Line()
    await line.handshake()
    line.runtime.report_error = StoreError("disk full")
    line.reply()
    assert line.sent() == []
    assert line.session.phase is Phase.READY


@pytest.mark.parametrize(
    ("count", "body"), [(PENDING_MAX, b"1"), (4, b"x" * (PENDING_BYTES_MAX // 4))]
)
def test_reading_stops_while_too_much_waits_to_be_stored(count: int, body: bytes) -> None:
    @on_loop
    async def check() -> None:
        line = Line()
        await line.handshake()
        line.runtime.holds_reports = True
        for number in range(count - 1):
            line.reply(str(number), body)
            assert line.wire.reads
        line.reply("last", body)
        assert not line.wire.reads
        for _ in range(count // 2 - 1):
            line.runtime.held.pop(0)(True, None)
        assert not line.wire.reads
        line.runtime.held.pop(0)(True, None)
        assert line.wire.reads

    check()


@on_loop
async def test_a_worker_whose_socket_ended_during_the_sync_is_dismissed() -> None:
    line = Line()
    line.session.receive(connect(), line.clock.now_ms())
    line.settle()
    line.session.lost()
    line.settle()
    line.connection.ended()
    await line.work.pop()  # type: ignore[misc]
    line.settle()
    assert line.runtime.named("attach") == []
    assert line.runtime.named("gone") == [CONNECTION_ID]
    assert line.versions_changes == 1


@on_loop
async def test_a_worker_that_was_never_ready_is_gone_too() -> None:
    line = Line()
    line.session.receive(connect(worker_manual_readiness_ack=True), line.clock.now_ms())
    line.settle()
    await line.work.pop()  # type: ignore[misc]
    lease_id = line.runtime.lease(REQUEST_ID)
    line.session.receive(extend(lease_id), line.clock.now_ms())
    line.session.lost()
    line.settle()
    assert line.runtime.asked[1:] == [
        ("extend", (CONNECTION_ID, REQUEST_ID)),
        ("gone", CONNECTION_ID),
    ]


@on_loop
async def test_a_worker_that_closes_its_socket_leaves_no_call_that_it_has_begun() -> None:
    line = Line()
    await line.handshake()
    line.connection.goodbye()
    line.session.lost()
    line.settle()
    assert line.runtime.asked[2:] == [("detach", CONNECTION_ID), ("gone", CONNECTION_ID)]


@on_loop
async def test_a_socket_that_never_said_hello_tells_nobody() -> None:
    line = Line()
    line.session.lost()
    line.settle()
    line.connection.ended()
    assert line.runtime.asked == []
    assert line.book.list() == []
    assert line.connection.id == ""
