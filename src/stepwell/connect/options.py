"""What `connect` is given, checked before anything starts; each error shows the right form."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from stepwell.app import check_client, functions_by_id
from stepwell.connect.executor import Target
from stepwell.connect.health_server import HealthPort
from stepwell.connect.reconnect import ReconnectPolicy
from stepwell.errors import ConfigError

if TYPE_CHECKING:
    from stepwell.client import Client
    from stepwell.connect.health_server import HealthPlace
    from stepwell.connect.state import ConnectionState
    from stepwell.function import Function

FORM: Final = "connect(apps=[(client, [function])])"


def check_apps(apps: Sequence[tuple[Client, Sequence[Function[Any]]]]) -> None:
    for app in apps if isinstance(apps, Sequence) else [apps]:
        if not isinstance(app, tuple | list) or len(app) != 2:
            raise ConfigError(
                f"an app is a client with its functions, this is a {type(app).__name__}; "
                f"write {FORM}"
            )


def check_clients(clients: Sequence[Client]) -> None:
    if not clients:
        raise ConfigError("connect() needs at least one app", code="apps_missing")
    for client in clients:
        check_client(client, FORM)
    names = [client.app_id for client in clients]
    if len(set(names)) != len(names):
        raise ConfigError(
            f"each app may come once, these are {', '.join(names)}", code="apps_conflict"
        )
    first = clients[0]
    for client in clients[1:]:
        for what in ("is_production", "api_base_url", "env", "signing_key"):
            if getattr(client.settings, what) != getattr(first.settings, what):
                raise ConfigError(
                    f"apps {first.app_id!r} and {client.app_id!r} differ in {what}; apps of one "
                    "connection share the server, the environment and the key",
                    code="apps_conflict",
                )


def targets_of(client: Client, functions: Sequence[Function[Any]]) -> dict[str, Target]:
    return {
        slug: Target(client, function)
        for slug, function in functions_by_id(client, functions, FORM).items()
    }


def checked_policy(reconnect: ReconnectPolicy | None, default: ReconnectPolicy) -> ReconnectPolicy:
    if reconnect is not None and not isinstance(reconnect, ReconnectPolicy):
        raise ConfigError(
            f"reconnect is {reconnect!r}; it must be a ReconnectPolicy, such as "
            "ReconnectPolicy(attempts=10)"
        )
    return default if reconnect is None else reconnect


def checked_callback(
    on_state: Callable[[ConnectionState], object] | None,
) -> Callable[[ConnectionState], object] | None:
    if on_state is None:
        return None
    if not callable(on_state) or asyncio.iscoroutinefunction(on_state):
        raise ConfigError(
            f"on_state is {on_state!r}; it must be a plain function that takes the state"
        )
    return on_state


def blocked_limit_ms(limit: int | timedelta | None) -> int | None:
    if limit is None:
        return None
    if isinstance(limit, timedelta):
        limit = limit // timedelta(milliseconds=1)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0:
        raise ConfigError(
            f"health_blocked_limit is {limit!r}; it must be milliseconds or a timedelta of more "
            "than nothing, or None for never"
        )
    return limit


def health_place(port: int | sockets.socket, host: str) -> HealthPlace:
    """Where health checks are answered."""
    if isinstance(port, sockets.socket):
        return port
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65_535:
        raise ConfigError(f"health_port is {port!r}; it must be from 0 (any) to 65535")
    return HealthPort(host=host, port=port)
