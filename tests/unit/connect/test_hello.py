"""What a worker says of itself, read by the server's own code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import msgspec

from stepwell.client import Client
from stepwell.connect.hello import App, build_hello
from stepwell.triggers import TriggerEvent
from stepwell.version import __version__
from stepwell.wire.connect import StartResponse, WorkerConnectRequestData
from stepwell.wire.functions import parse_connect_app

if TYPE_CHECKING:
    from stepwell.function import Function

START = StartResponse(
    connection_id="01K7T09A4B0000000000000000", session_token="session", sync_token="sync"
)


def app(version: str | None = None) -> App:
    client = Client(app_id="shop", is_production=False)

    @client.create_function(
        fn_id="ship",
        trigger=TriggerEvent(event="order/paid"),
        retries=2,
        on_failure=lambda _ctx: None,
    )
    def ship(_ctx: object) -> None:
        return None

    functions: dict[str, Function[object]] = {
        function.id: function for function in ship.with_failure_handler()
    }
    return App(name="shop", version=version, functions=functions)


def hello(*apps: App, env: str | None = None, limit: int = 0) -> WorkerConnectRequestData:
    raw = build_hello(START, apps=apps, instance_id="box", env=env, max_worker_concurrency=limit)
    return WorkerConnectRequestData.FromString(raw)


def test_worker_names_itself_and_repeats_its_tokens() -> None:
    data = hello(app())

    assert data.connection_id == START.connection_id
    assert data.instance_id == "box"
    assert (data.auth_data.session_token, data.auth_data.sync_token) == ("session", "sync")
    assert (data.sdk_language, data.sdk_version, data.framework) == ("py", __version__, "connect")
    assert not data.worker_manual_readiness_ack
    assert msgspec.json.decode(data.capabilities) == {
        "connect": "v1",
        "in_band_sync": "v1",
        "trust_probe": "v1",
        "stepwell": "v1",
    }


def test_machine_is_described() -> None:
    system = hello(app()).system_attributes

    assert system.cpu_cores == os.cpu_count()
    assert system.mem_bytes > 2**20
    assert system.os == sys.platform


def test_what_is_not_set_is_absent() -> None:
    data = hello(app())

    assert not data.HasField("environment")
    assert not data.HasField("max_worker_concurrency")
    assert not data.apps[0].HasField("app_version")


def test_what_is_set_is_sent() -> None:
    data = hello(app("v7"), env="branch", limit=3)

    assert data.environment == "branch"
    assert data.max_worker_concurrency == 3
    assert data.apps[0].app_version == "v7"


def test_server_registers_the_app() -> None:
    data = hello(app("v7"))

    registration = parse_connect_app(
        app_name=data.apps[0].app_name,
        app_version=data.apps[0].app_version,
        functions=data.apps[0].functions,
        sdk_language=data.sdk_language,
        sdk_version=data.sdk_version,
        framework=data.framework,
        platform=data.platform,
        capabilities=data.capabilities,
    )

    assert [function.slug for function in registration.functions] == [
        "shop-ship",
        "shop-ship-failure",
    ]
    assert all(function.on_connect for function in registration.functions)
    assert registration.functions[0].retries == 2
    assert registration.functions[1].retries == 0
