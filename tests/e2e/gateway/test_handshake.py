"""From the open socket to a worker that takes calls. Numbers: the reference's behaviours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.errors import StoreError
from stepwell.server.settings import Settings
from stepwell.server.workers import WorkerStatus
from stepwell.wire.connect import (
    ConnectMessage,
    GatewayConnectionReadyData,
    Kind,
    SystemAttributes,
)
from stepwell.wire.connect import (
    SystemError as SyncFailure,
)
from stepwell.wire.keys import hash_signing_key
from tests.e2e.gateway.raw_worker import open_bench, until
from tests.unit.server.gateway.messages import HEARTBEAT, READY, app, envelope, function
from tests.unit.server.loop import on_loop
from tests.unit.server.manual_clock import ManualClock

if TYPE_CHECKING:
    from tests.e2e.gateway.raw_worker import RawWorker

SIGNING_KEY = "ab" * 32


@on_loop
async def test_a_worker_connects_and_its_functions_are_registered() -> None:  # 6, 12, 51
    async with open_bench() as bench, bench.socket() as worker:
        assert worker.socket.subprotocol == "v0.connect.inngest.com"
        assert await worker.socket.recv() == b""
        await worker.send(worker.hello())
        ready = GatewayConnectionReadyData.FromString(
            await worker.receive_kind(Kind.GATEWAY_CONNECTION_READY)
        )
        assert (ready.heartbeat_interval, ready.extend_lease_interval) == ("10s", "5s")
        assert ready.status_interval == "0s"
        assert [entry.slug for entry in bench.runtime.catalog.functions] == ["shop-ship"]
        (attached,) = bench.runtime.attached.values()
        assert attached.functions == {("shop", "shop-ship")}
        assert (attached.instance_id, attached.limit) == ("box-7", None)


@on_loop
async def test_the_book_has_what_the_worker_said_of_itself() -> None:  # 54
    host = SystemAttributes(cpu_cores=8, mem_bytes=16_000, os="linux")
    async with open_bench() as bench:
        async with bench.socket(additional_headers={"X-Real-IP": "203.0.113.9"}) as worker:
            await worker.handshake(
                app("shop", version="v1"),
                app("billing", version=None, functions=[]),
                max_worker_concurrency=3,
                system_attributes=host,
            )
            (info,) = bench.book.list()
            assert info.status is WorkerStatus.READY
            assert [(one.name, one.version, one.function_count) for one in info.apps] == [
                ("shop", "v1", 1),
                ("billing", None, 0),
            ]
            assert all(one.app_id and one.sync_id for one in info.apps)
            assert (info.ip, info.os, info.cpu_cores, info.mem_bytes) == (
                "203.0.113.9", "linux", 8, 16_000,
            )  # fmt: skip
            assert (info.sdk_language, info.max_worker_concurrency) == ("py", 3)
        await until(lambda: not bench.gateway.connection_count)
        (info,) = bench.book.list()
        assert info.status is WorkerStatus.DISCONNECTED


@pytest.mark.parametrize("subprotocols", [(), ("v9.connect.inngest.com",)])
def test_a_worker_without_our_subprotocol_is_taken_without_one(
    subprotocols: tuple[str, ...],
) -> None:
    @on_loop
    async def connected() -> None:
        async with open_bench() as bench, bench.socket(subprotocols=subprotocols) as worker:
            assert worker.socket.subprotocol is None
            await worker.handshake()

    connected()


@on_loop
async def test_readiness_comes_before_connection_ready() -> None:  # the race of section 4.1
    async with open_bench() as bench, bench.worker() as worker:
        # Nothing was awaited since CONNECTION_READY came: the worker was ready when it left.
        assert bench.runtime.named("attach") == [worker.connection_id]


@on_loop
async def test_manual_readiness_waits_for_the_worker() -> None:  # 14
    async with open_bench() as bench, bench.worker(worker_manual_readiness_ack=True) as worker:
        await worker.send(HEARTBEAT)
        await worker.receive_kind(Kind.GATEWAY_HEARTBEAT)
        assert bench.runtime.named("attach") == []
        assert bench.book.list()[0].status is WorkerStatus.CONNECTED
        await worker.send(READY, READY, HEARTBEAT)
        await worker.receive_kind(Kind.GATEWAY_HEARTBEAT)
        assert bench.runtime.named("attach") == [worker.connection_id]


@on_loop
async def test_a_worker_that_listens_late_is_ready_when_it_has_answered_a_ping() -> None:
    clock = ManualClock()  # the ping is answered by the socket, and no time passes
    async with open_bench(clock=clock) as bench, bench.worker(sdk_language="typescript") as worker:
        await until(lambda: bench.runtime.named("attach") == [worker.connection_id])
        assert bench.book.list()[0].status is WorkerStatus.READY


async def refused(worker: RawWorker, message: bytes) -> tuple[int, str]:
    await worker.receive_kind(Kind.GATEWAY_HELLO)
    await worker.send(message)
    return await worker.closed()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (HEARTBEAT, "connect_worker_hello_invalid_msg"),
        (envelope(Kind.WORKER_CONNECT, b"\xff"), "connect_worker_hello_invalid_payload"),
    ],
)
def test_a_wrong_first_message_is_refused(message: bytes, reason: str) -> None:  # 7, 8
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.socket() as worker:
            assert await refused(worker, message) == (1008, reason)
            assert bench.book.list() == []

    check()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"connection_id": "nope"}, "connect_worker_hello_invalid_payload"),
        ({"instance_id": ""}, "connect_worker_hello_invalid_payload"),
        ({"session_token": "forged"}, "connect_authentication_failed"),
        ({"session_token": ""}, "connect_authentication_failed"),
    ],
)
def test_a_bad_hello_is_refused(fields: dict[str, str], reason: str) -> None:  # 8, 9
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.socket() as worker:
            assert await refused(worker, worker.hello(**fields)) == (1008, reason)

    check()


@on_loop
async def test_a_token_opens_only_its_own_connection_and_only_once_at_a_time() -> None:  # 9
    failed = (1008, "connect_authentication_failed")
    async with open_bench() as bench, bench.worker() as first:
        token = bench.gateway.mint_session_token(first.connection_id)
        async with bench.socket() as other:
            assert await refused(other, other.hello(session_token=token)) == failed
        async with bench.socket() as twin:
            twin.connection_id = first.connection_id
            assert await refused(twin, twin.hello()) == failed
        await first.send(HEARTBEAT)
        await first.receive_kind(Kind.GATEWAY_HEARTBEAT)


@on_loop
async def test_an_expired_token_is_refused() -> None:  # 9
    async with open_bench() as bench, bench.socket() as worker:
        hello = worker.hello()
        bench.runtime.clock_ms = bench.runtime.now_ms() + 5 * 60_000
        assert await refused(worker, hello) == (1008, "connect_authentication_failed")


@on_loop
async def test_ten_apps_are_taken_and_eleven_are_not() -> None:  # 10
    apps = [app(f"app{number}") for number in range(11)]
    async with open_bench() as bench:
        async with bench.worker(*apps[:10]):
            assert len(bench.runtime.catalog.functions) == 10
        async with bench.socket() as worker:
            assert await refused(worker, worker.hello(*apps)) == (
                1008,
                "connect_too_many_apps_per_connection",
            )


@on_loop
async def test_a_socket_without_a_hello_is_closed_after_five_seconds() -> None:  # 11
    clock = ManualClock()
    async with open_bench(clock=clock) as bench, bench.socket() as worker:
        await worker.receive_kind(Kind.GATEWAY_HELLO)
        clock.advance(5_000)
        assert await worker.closed() == (1008, "connect_worker_hello_timeout")


async def sync_failure(worker: RawWorker, hello: bytes) -> tuple[SyncFailure, tuple[int, str]]:
    await worker.receive_kind(Kind.GATEWAY_HELLO)
    await worker.send(hello)
    told = SyncFailure.FromString(await worker.receive_kind(Kind.SYNC_FAILED))
    return told, await worker.closed()


@pytest.mark.parametrize(
    ("functions", "code", "words"),
    [
        ([function("shop-ship", name="")], "function_invalid", "shop-ship"),
        ([function("shop-ship", steps={})], "function_invalid", "exactly one step"),
        ([function("shop-ship", debounce={"period": "5s"})], "function_unsupported", "debounce"),
        ([function(), function()], "function_invalid", "same id"),
    ],
)
def test_a_refused_function_is_named_with_its_reason(  # 13
    functions: list[dict[str, object]], code: str, words: str
) -> None:
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.socket() as worker:
            hello = worker.hello(app(functions=[*functions, function("shop-fine")]))
            told, closed = await sync_failure(worker, hello)
            assert told.message.startswith("At least one function is invalid")
            assert words in told.message
            assert (told.code, closed) == (code, (1008, code))
            assert bench.runtime.catalog.functions == []
            assert bench.runtime.named("attach") == []
            await until(lambda: bench.book.live_count == 0)
            (info,) = bench.book.list()
            assert info.disconnect_reason == told.message

    check()


@on_loop
async def test_the_same_refusal_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench:
        for wait_ms in (0, 59_999, 1):
            clock.advance(wait_ms)
            async with bench.socket() as worker:
                hello = worker.hello(app(functions=[function("shop-ship", name="")]))
                await sync_failure(worker, hello)
    said = [record for record in caplog.records if "apps refused" in record.getMessage()]
    assert len(said) == 2


@pytest.mark.parametrize("functions", [b"", b"null", b"{}", b"[1]", b"\xff", b"[" * 10_000])
def test_functions_that_are_no_array_of_objects_are_refused(functions: bytes) -> None:
    @on_loop
    async def check() -> None:
        async with open_bench() as bench, bench.socket() as worker:
            announced = app()
            announced.functions = functions
            told, (code, reason) = await sync_failure(worker, worker.hello(announced))
            assert told.message
            assert (code, reason) == (1008, told.code)

    check()


@on_loop
async def test_an_app_without_a_name_is_refused() -> None:
    async with open_bench() as bench, bench.socket() as worker:
        told, closed = await sync_failure(worker, worker.hello(app("", functions=[])))
        assert (told.message, closed) == ("App ID required", (1008, "app_id_missing"))


@on_loop
async def test_one_bad_app_refuses_the_whole_worker() -> None:
    async with open_bench() as bench, bench.socket() as worker:
        bad = app("billing", functions=[function("billing-x", name="")])
        await sync_failure(worker, worker.hello(app("shop"), bad))
        assert bench.runtime.named("register") == []


@pytest.mark.parametrize("error", [StoreError("disk full"), RuntimeError("a defect")])
def test_a_sync_that_fails_through_us_lets_the_worker_come_back(error: Exception) -> None:
    @on_loop
    async def check() -> None:
        async with open_bench() as bench:
            bench.runtime.register_error = error
            async with bench.socket() as worker:
                await worker.receive_kind(Kind.GATEWAY_HELLO)
                await worker.send(worker.hello())
                assert await worker.closed() == (1011, "connect_internal_error")
            bench.runtime.register_error = None
            async with bench.worker():
                assert len(bench.runtime.catalog.functions) == 1

    check()


@on_loop
async def test_a_heartbeat_that_comes_with_the_hello_does_no_harm() -> None:
    async with open_bench() as bench, bench.socket() as worker:
        await worker.receive_kind(Kind.GATEWAY_HELLO)
        await worker.send(worker.hello(), HEARTBEAT, HEARTBEAT)
        await worker.receive_kind(Kind.GATEWAY_CONNECTION_READY)
        assert bench.runtime.named("attach") == [worker.connection_id]


@on_loop
async def test_in_start_mode_the_sync_token_must_be_a_signing_key() -> None:
    async with open_bench(mode="start", signing_key=SIGNING_KEY, event_keys=("e",)) as bench:
        for wrong in ("", "00" * 32):
            async with bench.socket() as worker:
                hello = with_sync_token(worker.hello(), wrong)
                assert await refused(worker, hello) == (1008, "connect_authentication_failed")
        for right in (SIGNING_KEY, hash_signing_key(SIGNING_KEY)):
            async with bench.socket() as worker:
                await worker.receive_kind(Kind.GATEWAY_HELLO)
                await worker.send(with_sync_token(worker.hello(), right))
                await worker.receive_kind(Kind.GATEWAY_CONNECTION_READY)


def with_sync_token(hello: bytes, sync_token: str) -> bytes:
    message = ConnectMessage.FromString(hello)
    message.payload += (
        b"\x1a"
        + bytes([len(sync_token) + 2])
        + b"\x12"
        + bytes([len(sync_token)])
        + sync_token.encode()
    )  # AuthData again: fields of equal messages are merged
    return message.SerializeToString()


@on_loop
async def test_one_connection_more_than_the_setting_allows_is_turned_away() -> None:
    async with open_bench(connections_max=2) as bench, bench.worker():
        async with bench.worker(), bench.socket() as third:
            assert await third.closed() == (1008, "connect_internal_error")
        await until(lambda: bench.gateway.connection_count == 1)
        async with bench.worker():
            assert Settings().connections_max == 10_000
