"""Workers that dial out: run functions over one WebSocket, without an inbound port.

The names below are imported when they are first used: programs that serve functions over HTTP use
parts of this package, and need neither protobuf nor WebSockets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepwell.connect.connection import WorkerConnection, connect
    from stepwell.connect.health import Health
    from stepwell.connect.reconnect import ReconnectPolicy
    from stepwell.connect.state import ConnectionState

__all__ = ["ConnectionState", "Health", "ReconnectPolicy", "WorkerConnection", "connect"]

_HOMES = {
    "ConnectionState": "state",
    "Health": "health",
    "ReconnectPolicy": "reconnect",
    "WorkerConnection": "connection",
    "connect": "connection",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
