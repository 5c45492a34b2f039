"""The connection as a program sees it: how it starts, ends, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

import stepwell
from stepwell.connect import ConnectionState, connect, connection
from stepwell.connect.worker import Worker
from stepwell.errors import AuthError, ConfigError, StepwellError
from stepwell.wire.connect import Kind, Status
from stepwell.wire.connect import SystemError as SyncError
from stepwell.wire.ids import hash_step_id
from tests.unit.connect.gateway import Gateway
from tests.unit.connect.loop import on_loop
from tests.unit.connect.story import Held, declared, story, total

if TYPE_CHECKING:
    from stepwell import Context, Function

pytestmark = pytest.mark.usefixtures("quick")

ACTIVE = ConnectionState.ACTIVE
CLOSING = ConnectionState.CLOSING
CLOSED = ConnectionState.CLOSED

KEY = "signkey-prod-0123456789abcdef0123456789abcdef"


# --- the beginning ---


@on_loop
async def test_worker_connects_runs_calls_and_leaves() -> None:
    async with story(declared(total), instance_id="box", max_worker_concurrency=3) as told:
        assert told.worker.state is told.worker.get_state() is ConnectionState.CONNECTING
        peer = await told.ready()
        await told.worker.wait_for_state(ACTIVE)
        assert told.worker.get_connection_id() == peer.hello.connection_id == "connection-1"
        assert peer.hello.instance_id == "box"
        assert peer.hello.max_worker_concurrency == 3
        assert peer.hello.apps[0].app_version == "v1"

        await peer.call("req-1", data={"total": 21})

        assert (await peer.expect_ack()).request_id == "req-1"
        reply = await peer.expect_reply()
        assert (reply.request_id, reply.body) == ("req-1", b"42")
        assert Status(reply.status) is Status.DONE
        await peer.ack_reply("req-1")

        await told.worker.close()
        await peer.expect(Kind.WORKER_PAUSE)
        assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
        await told.worker.closed()
        await told.ended()
        assert told.worker.state is CLOSED


@on_loop
async def test_run_needs_no_loop_and_takes_the_best_one() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def where(_ctx: Context) -> str:
        loops.append(asyncio.get_running_loop())
        return "here"

    async with story(declared(where), starts=False) as told:
        running = asyncio.create_task(asyncio.to_thread(told.worker.run))
        peer = await told.ready()
        await peer.call()
        await peer.expect_ack()
        assert (await peer.expect_reply()).body == b'"here"'
        await peer.ack_reply("req-1")
        assert [type(loop) for loop in loops] == [uvloop.Loop]

        await told.worker.close()
        await peer.expect(Kind.WORKER_PAUSE)
        assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
        await running


@on_loop
async def test_protocol_runs_on_a_stock_loop_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_protocol_loop", asyncio.new_event_loop)
    async with story(declared(total)) as told:
        peer = await told.ready()
        await peer.call(data={"total": 1})
        await peer.expect_ack()
        assert (await peer.expect_reply()).body == b"2"
        await peer.ack_reply("req-1")

        await told.worker.close(wait=True)

        assert told.worker.state is CLOSED


@on_loop
async def test_step_outcomes_are_replied_as_operations() -> None:
    async def steps(ctx: Context) -> None:
        await ctx.step.run("one", lambda: 1)

    async with story(declared(steps)) as told:
        peer = await told.ready()

        await peer.call()

        await peer.expect_ack()
        reply = await peer.expect_reply()
        assert Status(reply.status) is Status.NOT_COMPLETED
        assert json.loads(reply.body)[0]["id"] == hash_step_id("one")


@on_loop
async def test_worker_waits_for_a_server_that_is_not_there_yet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "stepwell.connect")
    async with story(declared(total)) as told:
        told.gateway.start_statuses = [503] * 6

        await told.ready()
        await told.worker.wait_for_state(ACTIVE)

        assert len(told.gateway.starts) == 7
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1  # one line for the state, not one an attempt
    assert "answered 503" in warnings[0]


@on_loop
async def test_each_change_of_state_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stepwell.connect")
    held = Held()
    async with story(declared(held), declared(total, "count"), instance_id="box") as told:
        peer = await told.ready()
        await told.worker.wait_for_state(ACTIVE)
        peer.cut()
        peer = await told.ready()
        await told.worker.wait_for_state(ACTIVE)
        await peer.send(Kind.GATEWAY_CLOSING)
        peer = await told.ready()
        await peer.call()
        await peer.expect_ack()
        await held.begun.wait()

        await told.worker.close()
        await peer.expect(Kind.WORKER_PAUSE)
        held.release.set()
        await peer.expect_reply()
        await peer.ack_reply("req-1")
        await told.ended()

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", f"connected to {told.gateway.api_url} as box, 2 functions"),
        ("WARNING", "connection lost; reconnecting"),
        ("INFO", "connected again"),
        ("INFO", "the server is about to close this connection; opening another"),
        ("INFO", "connected again"),
        ("INFO", "stopping: waiting for 1 call; a second signal ends at once"),
        ("INFO", "stopped"),
    ]


@on_loop
async def test_reasons_that_take_turns_are_told_once_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with story(declared(total)) as told:
        told.gateway.start_statuses = [503, 500] * 4

        await told.ready()

    warnings = [record for record in caplog.records if "trying again" in record.getMessage()]
    assert len(warnings) == 2


@on_loop
async def test_wrong_key_surfaces_in_start() -> None:
    async with story(declared(total)) as told:
        told.gateway.start_statuses = [401] * 9

        with pytest.raises(AuthError, match="STEPWELL_SIGNING_KEY") as caught:
            await told.ended()

        assert caught.value.code == "signing_key_missing"
        assert "http.py" not in "".join(traceback.format_exception(caught.value))
        assert told.worker.state is CLOSED
        with pytest.raises(StepwellError, match="closed"):
            await told.worker.wait_for_state(ACTIVE)
        await told.worker.closed()


@on_loop
async def test_refused_functions_surface_in_start() -> None:
    async with story(declared(total)) as told:
        peer = await told.gateway.accept()
        await peer.greet()
        failure = SyncError(code="function_invalid", message="function ship has no trigger")

        await peer.send(Kind.SYNC_FAILED, failure)

        with pytest.raises(ConfigError, match="function ship has no trigger") as caught:
            await told.ended()
        assert caught.value.code == "function_invalid"


@on_loop
async def test_refusal_without_a_code_surfaces_too() -> None:
    async with story(declared(total)) as told:
        peer = await told.gateway.accept()
        await peer.greet()

        await peer.send(Kind.SYNC_FAILED, SyncError(message="At least one function is invalid"))

        with pytest.raises(ConfigError, match="At least one function is invalid"):
            await told.ended()


@on_loop
async def test_too_many_apps_surface_in_start() -> None:
    async with story(declared(total)) as told:
        peer = await told.gateway.accept()
        await peer.greet()

        await peer.close(1008, "connect_too_many_apps_per_connection")

        with pytest.raises(ConfigError, match="apps on one connection"):
            await told.ended()


@pytest.mark.parametrize(
    "trouble", ["server's fault", "closed", "cut", "draining", "garbage", "text", "unexpected"]
)
def test_handshake_that_fails_is_tried_again(trouble: str) -> None:
    @on_loop
    async def run() -> None:
        async with story(declared(total)) as told:
            peer = await told.gateway.accept()
            match trouble:
                case "server's fault":
                    await peer.greet()
                    failure = SyncError(code="connect_internal_error", message="no disk")
                    await peer.send(Kind.SYNC_FAILED, failure)
                case "closed":
                    await peer.close(1001, "connect_gateway_closing")
                case "cut":
                    peer.cut()
                case "draining":
                    await peer.send(Kind.GATEWAY_CLOSING)
                case "garbage":
                    await peer.send_raw(b"\xff\xff")
                case "text":
                    await peer.send_raw("hello")
                case "unexpected":
                    await peer.send(Kind.GATEWAY_CONNECTION_READY)

            await told.ready()
            await told.worker.wait_for_state(ACTIVE)

    run()


@on_loop
async def test_gateway_address_can_be_rewritten() -> None:
    asked: list[str] = []

    def rewrite(url: str) -> str:
        asked.append(url)
        return gateway_url

    async with story(declared(total), rewrite_gateway_endpoint=rewrite) as told:
        gateway_url = told.gateway.gateway_url
        told.gateway.gateway_url = "ws://inside:8289/v0/connect"

        await told.ready()

        assert asked == ["ws://inside:8289/v0/connect"]


@on_loop
async def test_gateway_address_can_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Gateway() as elsewhere:
        monkeypatch.setenv("STEPWELL_CONNECT_GATEWAY_URL", elsewhere.gateway_url)
        async with story(declared(total)):
            await (await elsewhere.accept()).handshake()


@pytest.mark.parametrize("url", ["http://host:1", "ws:///v0/connect", "nonsense"])
def test_unusable_gateway_address_surfaces_in_start(url: str) -> None:
    @on_loop
    async def run() -> None:
        async with story(declared(total), rewrite_gateway_endpoint=lambda _url: url) as told:
            with pytest.raises(ConfigError) as caught:
                await told.ended()
            assert caught.value.code == "url_invalid"

    run()


@on_loop
async def test_failing_rewrite_surfaces_in_start() -> None:
    def rewrite(_url: str) -> str:
        raise KeyError("CLUSTER_HOST")

    async with story(declared(total), rewrite_gateway_endpoint=rewrite) as told:
        with pytest.raises(ConfigError, match="CLUSTER_HOST"):
            await told.ended()


@on_loop
async def test_failure_of_the_protocol_thread_surfaces_in_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_args: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Worker, "_adopt", broken)
    async with story(declared(total)) as told:
        await told.ready()

        with pytest.raises(ZeroDivisionError, match="a bug"):
            await told.ended()
        assert told.worker.state is CLOSED


# --- signals ---


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_finishes_what_is_in_flight(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    @on_loop
    async def run() -> None:
        held = Held()
        async with story(declared(held), shutdown_signals=None) as told:
            peer = await told.ready()
            await peer.call()
            await peer.expect_ack()
            await held.begun.wait()

            os.kill(os.getpid(), number)

            await peer.expect(Kind.WORKER_PAUSE)
            held.release.set()
            await peer.expect_reply()
            await peer.ack_reply("req-1")
            assert await peer.closed() == (1000, "WORKER_SHUTDOWN")
            await told.ended()

    run()
    assert signal.getsignal(number) is before


@on_loop
async def test_second_signal_does_not_wait() -> None:
    held = Held()
    async with story(declared(held), shutdown_signals=[signal.SIGTERM]) as told:
        peer = await told.ready()
        await peer.call()
        await held.begun.wait()

        os.kill(os.getpid(), signal.SIGTERM)
        await told.worker.wait_for_state(CLOSING)
        os.kill(os.getpid(), signal.SIGTERM)

        await told.ended()
        assert held.cancelled.is_set()


@on_loop
async def test_two_connections_live_and_end_on_their_own() -> None:
    async with (
        story(declared(total), instance_id="one") as one,
        story(declared(total), instance_id="two") as two,
    ):
        first, second = await one.ready(), await two.ready()
        assert (first.hello.instance_id, second.hello.instance_id) == ("one", "two")

        await one.worker.close(wait=True)
        await second.call(data={"total": 5})

        await second.expect_ack()
        assert (await second.expect_reply()).body == b"10"


@on_loop
async def test_two_connections_of_a_process_have_limits_of_their_own() -> None:
    async with Gateway() as gateway:
        client = client_of(api_base_url=gateway.api_url)
        functions = [declared(total)(client)]
        limits = {"worker-1-conn-1": 50, "worker-1-conn-2": 20}
        connections = [
            connect(
                [(client, functions)],
                instance_id=instance_id,
                max_worker_concurrency=limit,
                shutdown_signals=[],
            )
            for instance_id, limit in limits.items()
        ]
        running = asyncio.ensure_future(asyncio.gather(*(each.start() for each in connections)))
        peers = [await gateway.accept(), await gateway.accept()]
        for peer in peers:
            await peer.handshake()
        said = {peer.hello.instance_id: peer.hello.max_worker_concurrency for peer in peers}
        assert said == limits

        for each in connections:
            await each.close()
        await running


@on_loop
async def test_limit_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNGEST_CONNECT_MAX_WORKER_CONCURRENCY", "7")
    async with story(declared(total)) as told:
        assert (await told.ready()).hello.max_worker_concurrency == 7
    async with story(declared(total), max_worker_concurrency=3) as told:  # the option wins
        assert (await told.ready()).hello.max_worker_concurrency == 3


# --- what cannot be connected ---


def client_of(**options: Any) -> stepwell.Client:
    options.setdefault("app_id", "shop")
    options.setdefault("api_base_url", "http://127.0.0.1:1")
    options.setdefault("is_production", False)
    return stepwell.Client(**options)


def app_of(**options: Any) -> tuple[stepwell.Client, list[Function[Any]]]:
    client = client_of(**options)
    return client, [declared(total)(client)]


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"app_id": "shop"}, "each app may come once"),
        ({"api_base_url": "http://127.0.0.1:2"}, "api_base_url"),
        ({"env": "branch"}, "env"),
        ({"is_production": True}, "is_production"),
        ({"signing_key": KEY}, "signing_key"),
    ],
)
def test_apps_that_cannot_share_a_connection(other: dict[str, Any], difference: str) -> None:
    with pytest.raises(ConfigError, match=difference):
        connect([app_of(), app_of(**{"app_id": "other", **other})])


def test_apps_that_can_share_a_connection() -> None:
    assert connect([app_of(), app_of(app_id="other")]).state is ConnectionState.CONNECTING


def test_connection_needs_apps_with_functions_of_their_own() -> None:
    client, functions = app_of()
    _, foreign = app_of(app_id="other")

    for apps, what in (
        ([], "at least one app"),
        ([(client, [])], "has no functions"),
        ([(client, functions * 2)], "two functions named"),
        ([(client, foreign)], "belongs to app"),
    ):
        with pytest.raises(ConfigError, match=what):
            connect(apps)


def test_options_are_checked_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="max_worker_concurrency"):
        connect([app_of()], max_worker_concurrency=-1)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"reconnect": 5}, "ReconnectPolicy"),
        ({"on_state": "print"}, "on_state"),
        ({"health_port": 70_000}, "health_port"),
        ({"health_port": True}, "health_port"),
        ({"health_blocked_limit": 0}, "health_blocked_limit"),
    ]
    for options, what in wrong:
        with pytest.raises(ConfigError, match=what):
            connect([app_of()], **options)
    with pytest.raises(ConfigError) as caught:
        connect([app_of(signing_key="not hexadecimal")])
    assert caught.value.code == "signing_key_invalid"
    client = stepwell.Client(
        app_id="shop", is_production=True, event_api_base_url="http://127.0.0.1:1"
    )
    with pytest.raises(ConfigError) as caught:
        connect([(client, [declared(total)(client)])])
    assert caught.value.code == "base_url_missing"


def test_there_is_no_connection_id_before_the_first_answer() -> None:
    with pytest.raises(ConfigError) as caught:
        connect([app_of()]).get_connection_id()

    assert caught.value.code == "not_connected"


@on_loop
async def test_connection_is_started_once() -> None:
    async with story(declared(total)) as told:
        await told.ready()
        with pytest.raises(ConfigError, match="once"):
            await told.worker.start()


@on_loop
async def test_connection_that_was_closed_before_is_not_started() -> None:
    worker = connect([app_of()])

    await worker.close(wait=True)

    assert worker.state is CLOSED
    await worker.closed()
    with pytest.raises(ConfigError, match="once"):
        await worker.start()
