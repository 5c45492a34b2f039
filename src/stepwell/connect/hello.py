"""What a worker says of itself: WORKER_CONNECT.

Source: docs/reference/wire/connect.md, "WORKER_CONNECT".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

import msgspec

from stepwell.function import Function
from stepwell.version import __version__
from stepwell.wire.connect import (
    STEPWELL_CAPABILITY,
    AppConfiguration,
    AuthData,
    StartResponse,
    SystemAttributes,
    WorkerConnectRequestData,
)

CAPABILITIES = msgspec.json.encode(
    {"connect": "v1", "in_band_sync": "v1", "trust_probe": "v1", STEPWELL_CAPABILITY: "v1"}
)
APP_URL = "wss://connect"
"""Tells the server that the functions are called over this connection; nobody dials it."""


class App(msgspec.Struct, frozen=True, kw_only=True):
    """One app of a worker, with its functions by their id on the server."""

    name: str
    version: str | None
    functions: Mapping[str, Function[object]]


def build_hello(
    start: StartResponse,
    *,
    apps: Sequence[App],
    instance_id: str,
    env: str | None,
    max_worker_concurrency: int,
) -> bytes:
    """Serialise WORKER_CONNECT for the connection that a start request was answered with."""
    hello = WorkerConnectRequestData(
        connection_id=start.connection_id,
        instance_id=instance_id,
        auth_data=AuthData(session_token=start.session_token, sync_token=start.sync_token),
        capabilities=CAPABILITIES,
        apps=[_app(app) for app in apps],
        worker_manual_readiness_ack=False,
        system_attributes=_system(),
        framework="connect",
        sdk_version=__version__,
        sdk_language="py",
    )
    if env is not None:
        hello.environment = env
    if max_worker_concurrency > 0:
        hello.max_worker_concurrency = max_worker_concurrency
    return hello.SerializeToString()


def _app(app: App) -> AppConfiguration:
    functions = [function.configuration(APP_URL) for function in app.functions.values()]
    configuration = AppConfiguration(app_name=app.name, functions=msgspec.json.encode(functions))
    if app.version is not None:
        configuration.app_version = app.version
    return configuration


def _system() -> SystemAttributes:
    return SystemAttributes(
        cpu_cores=os.cpu_count() or 0, mem_bytes=_memory_bytes(), os=sys.platform
    )


def _memory_bytes() -> int:
    """The machine's memory, 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows; a system without these names
        return 0
