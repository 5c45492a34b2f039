"""Policies, callbacks, saturation and health of a connection that is alive."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from stepwell.connect import ConnectionState, ReconnectPolicy, calls, connection, worker
from stepwell.connect.plan import Timing
from stepwell.errors import ConfigError, StepwellError
from stepwell.wire.connect import Kind
from tests.unit.connect.loop import on_loop
from tests.unit.connect.story import (
    Held,
    HeldSync,
    Story,
    declared,
    story,
    story_elsewhere,
    total,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell import Context

pytestmark = pytest.mark.usefixtures("quick", "kind")

ACTIVE = ConnectionState.ACTIVE
WAIT_S = 5.0
"""So long may anything take that must come."""


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.005)


async def health_port(told: Story) -> int:
    await until(lambda: told.worker.health_port is not None)
    port = told.worker.health_port
    assert port is not None
    return port


async def checked(port: int, path: str = "/ready") -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.json()


async def until_checked(port: int, path: str, status: int, reason: str | None) -> dict[str, Any]:
    """What the check says when it says this."""
    async with asyncio.timeout(WAIT_S):
        while True:
            seen, body = await checked(port, path)
            if seen == status and body["reason"] == reason:
                return body
            await asyncio.sleep(0.01)


# --- the policy ---


@on_loop
async def test_worker_that_gives_up_raises_in_start() -> None:
    policy = ReconnectPolicy(base=1, cap=20, attempts=3)
    async with story(declared(total), reconnect=policy) as told:
        told.gateway.start_statuses = [503] * 100

        with pytest.raises(StepwellError, match="answered 503") as caught:
            await told.ended()

        assert caught.value.code == "reconnect_given_up"
        assert len(told.gateway.starts) == 3
        assert told.worker.state is ConnectionState.CLOSED


@on_loop
async def test_attempts_are_counted_from_the_last_connection() -> None:
    policy = ReconnectPolicy(base=1, cap=20, attempts=3)
    async with story(declared(total), reconnect=policy) as told:
        told.gateway.start_statuses = [503, 503]
        peer = await told.ready()
        for _ in range(3):
            await told.worker.wait_for_state(ACTIVE)
            told.gateway.start_statuses = [503, 503]
            peer.cut()
            peer = await told.ready()
        await told.worker.wait_for_state(ACTIVE)


@on_loop
async def test_worker_that_gives_up_leaves_what_is_done(no_flush: None) -> None:
    policy = ReconnectPolicy(base=1, attempts=2)
    held = Held()
    async with story(declared(total), declared(held, "held"), reconnect=policy) as told:
        peer = await told.ready()
        await peer.call("held", function="held")
        await peer.expect_ack()
        await peer.call("done", data={"total": 4})
        await peer.expect_ack()
        await peer.expect_reply()
        told.gateway.start_statuses = [503] * 100
        peer.cut()

        assert (await told.gateway.flushed_reply()).request_id == "done"
        with pytest.raises(StepwellError) as caught:
            await told.ended()
        assert caught.value.code == "reconnect_given_up"
        assert held.cancelled.is_set()


@on_loop
async def test_hook_of_the_policy_stops_the_worker() -> None:
    class Enough(Exception):
        pass

    heard: list[tuple[str, int]] = []

    def hook(error: StepwellError, number: int) -> None:
        heard.append((error.code, number))
        if number == 3:
            raise Enough

    async with story(declared(total), reconnect=ReconnectPolicy(base=1, on_error=hook)) as told:
        told.gateway.start_statuses = [503] * 100

        with pytest.raises(Enough):
            await told.ended()

    assert heard == [("server_unreachable", number) for number in (1, 2, 3)]


# --- states ---


@on_loop
async def test_callback_hears_of_each_state_on_the_loop_of_the_program() -> None:
    heard: list[tuple[ConnectionState, int]] = []

    def on_state(state: ConnectionState) -> None:
        heard.append((state, threading.get_ident()))
        if state is ConnectionState.RECONNECTING:
            raise ValueError("mine")

    async with story(declared(total), on_state=on_state) as told:
        peer = await told.ready()
        await told.worker.wait_for_state(ACTIVE)
        peer.cut()
        await told.ready()
        await told.worker.wait_for_state(ACTIVE)
        await told.worker.close()
        await told.ended()

    assert [state.value for state, _ in heard] == [
        "ACTIVE",
        "RECONNECTING",
        "ACTIVE",
        "CLOSING",
        "CLOSED",
    ]
    assert {thread for _, thread in heard} == {threading.get_ident()}


@on_loop
async def test_callback_hears_of_a_connection_that_is_closed_before_its_start() -> None:
    heard: list[ConnectionState] = []
    async with story(declared(total), starts=False, on_state=heard.append) as told:
        await told.worker.close()

    assert heard == [ConnectionState.CLOSED]


# --- saturation ---


@on_loop
async def test_full_worker_takes_no_calls_until_there_is_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "stepwell.connect")
    monkeypatch.setattr(worker, "Calls", partial(calls.Calls, waiting_bytes_max=2_000))

    async def large(_ctx: Context) -> str:
        return "x" * 1_500

    held = Held()
    async with story(declared(large), declared(held, "held"), health_port=0) as told:
        port = await health_port(told)
        peer = await told.ready()
        await peer.call("held", function="held")
        await peer.expect_ack()
        for name in ("one", "two"):
            await peer.call(name)
            await peer.expect_ack()
            await peer.expect_reply()
        await until(lambda: told.worker.saturated)
        assert told.worker.state is ACTIVE
        body = await until_checked(port, "/ready", 503, "saturated")
        assert (body["unacknowledged"], body["live"]) == (2, True)

        await peer.call("refused")
        await peer.call("held", function="held")  # which it has
        assert (await peer.expect_ack()).request_id == "held"  # so the other was read, and left
        held.release.set()
        assert (await peer.expect_reply()).request_id == "held"  # and nothing that is done is lost

        for name in ("one", "two", "held"):
            await peer.ack_reply(name)
        await until(lambda: not told.worker.saturated)
        assert (await until_checked(port, "/ready", 200, None))["unacknowledged"] == 0
        await peer.call("again")
        assert (await peer.expect_ack()).request_id == "again"

    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if "no calls are taken until there is room" in line]) == 1
    assert "results have left; calls are taken again" in said


@on_loop
async def test_room_that_comes_over_http_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "Calls", partial(calls.Calls, waiting_bytes_max=10))
    async with story(declared(total)) as told:
        peer = await told.ready()
        await peer.call()
        await peer.expect_ack()
        await peer.expect_reply()
        await until(lambda: told.worker.saturated)
        told.gateway.start_statuses = [503] * 100_000

        peer.cut()

        await told.gateway.flushed_reply()
        await until(lambda: not told.worker.saturated)


# --- health ---


@on_loop
async def test_health_follows_the_life_of_a_connection() -> None:
    held = Held()
    soon = ReconnectPolicy(base=1, cap=20)
    async with story(declared(held), health_port=0, instance_id="box", reconnect=soon) as told:
        assert told.worker.health_port is None
        told.gateway.start_statuses = [503] * 100_000
        port = await health_port(told)
        assert (await until_checked(port, "/ready", 503, "connecting"))["instance_id"] == "box"
        assert (await checked(port, "/live"))[0] == 200

        told.gateway.start_statuses.clear()
        peer = await told.ready()
        await peer.call()
        await peer.expect_ack()
        assert (await until_checked(port, "/ready", 200, None))["running"] == 1

        told.gateway.start_statuses = [503] * 100_000
        peer.cut()
        await until_checked(port, "/ready", 503, "reconnecting")
        told.gateway.start_statuses.clear()
        peer = await told.ready()
        await until_checked(port, "/ready", 200, None)

        await told.worker.close()
        body = await until_checked(port, "/ready", 503, "closing")
        assert body["live"] is True
        held.release.set()
        await peer.expect_extension()
        await peer.expect(Kind.WORKER_PAUSE)
        await peer.expect_reply()
        await peer.ack_reply("req-1")
        await told.ended()
        assert told.worker.health_port is None
        with pytest.raises(aiohttp.ClientConnectionError):
            await checked(port)
        assert told.worker.health().reason == "closed"


@on_loop
async def test_blocked_program_is_alive_and_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TIMING", Timing(blocked_after_ms=50))
    blocked = HeldSync()

    async def block(ctx: Context) -> str:
        return blocked(ctx)  # type: ignore[arg-type]  # blocking is what it is for

    async with story_elsewhere(declared(block), health_port=0) as told:
        port = await health_port(told)
        peer = await told.ready()
        await peer.call()
        await until_checked(port, "/ready", 503, "event_loop_blocked")
        assert (await checked(port, "/live"))[0] == 200

        blocked.release.set()
        await until_checked(port, "/ready", 200, None)
        await peer.expect_ack()
        await peer.expect_reply()
        await peer.ack_reply("req-1")


@on_loop
async def test_program_that_is_blocked_for_too_long_is_not_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "TIMING", Timing(blocked_after_ms=20))
    blocked = HeldSync()

    async def block(ctx: Context) -> str:
        return blocked(ctx)  # type: ignore[arg-type]  # blocking is what it is for

    async with story_elsewhere(declared(block), health_port=0, health_blocked_limit=100) as told:
        port = await health_port(told)
        peer = await told.ready()
        await peer.call()
        body = await until_checked(port, "/live", 503, "event_loop_blocked")
        assert body["blocked_s"] >= 0.1
        blocked.release.set()
        await until_checked(port, "/live", 200, None)
        await peer.expect_ack()
        await peer.expect_reply()
        await peer.ack_reply("req-1")


@on_loop
async def test_health_port_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_CONNECT_HEALTH_PORT", "0")
    async with story(declared(total)) as told:
        assert (await checked(await health_port(told), "/live"))[0] == 200


@on_loop
async def test_health_port_that_is_taken_surfaces_in_start() -> None:
    async with story(declared(total), health_port=0) as first:
        port = await health_port(first)
        async with story(declared(total), health_port=port) as second:
            with pytest.raises(ConfigError, match="health_port") as caught:
                await second.ended()

    assert caught.value.code == "port_taken"


@on_loop
async def test_apps_for_frameworks_say_the_same() -> None:
    async with story(declared(total)) as told:
        await told.ready()
        await told.worker.wait_for_state(ACTIVE)
        statuses: list[str] = []
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/ready"}
        body = b"".join(
            told.worker.wsgi_health()(
                environ,
                lambda status, *_rest: statuses.append(status),  # type: ignore[arg-type]
            )
        )
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/ready"}
        await told.worker.asgi_health()(scope, asyncio.Future, send)

        assert statuses == ["200 OK"]
        assert sent[0]["status"] == 200
        assert json.loads(sent[1]["body"]) == json.loads(body)
