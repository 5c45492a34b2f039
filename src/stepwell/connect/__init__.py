"""Workers that dial out: run functions over one WebSocket, without an inbound port."""

from stepwell.connect.connection import WorkerConnection, connect
from stepwell.connect.state import ConnectionState

__all__ = ["ConnectionState", "WorkerConnection", "connect"]
