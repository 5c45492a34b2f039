"""Connections of workers: one row for each app of each connection.

Source: docs/reference/wire/connect.md, "observability".
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell.errors import LimitExceeded, WireError
from stepwell.server.api import queries
from stepwell.server.api.connect_state import GATEWAY_ID
from stepwell.server.api.graphql.apps import app_named
from stepwell.server.api.graphql.search import Connection
from stepwell.server.api.responses import iso
from stepwell.server.workers import WorkerStatus
from stepwell.wire.ids import app_uuid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stepwell.server.api.graphql.apps import App
    from stepwell.server.api.graphql.reading import Reading
    from stepwell.server.workers import WorkerApp, WorkerInfo

WORKERS_DEFAULT: Final = 40
WORKERS_MAX: Final = 399
"""A page that is asked for with another size has the default one, as clients expect."""

SEARCHED_MAX: Final = 2_000
READ_MAX: Final = 200
"""Connections that are read at a time."""

DEFAULT_ORDER: Final = {"field": "CONNECTED_AT", "direction": "DESC"}


class WorkerConnection:
    """One app of a connection."""

    gateway_id = GATEWAY_ID

    def __init__(self, reading: Reading, info: WorkerInfo, app: WorkerApp) -> None:
        self._reading = reading
        self.id = info.connection_id
        self.instance_id = info.instance_id
        self.worker_ip = info.ip
        self.max_worker_concurrency = info.max_worker_concurrency or 0
        self.app_name = app.name
        self.app_id = app.app_id
        self.connected_at = iso(info.connected_at_ms)
        self.last_heartbeat_at = iso(info.last_heartbeat_ms)
        self.disconnected_at = iso(info.disconnected_at_ms)
        self.disconnect_reason = info.disconnect_reason
        self.status = info.status.value
        self.group_hash = app.group_hash or ""
        self.sdk_lang = info.sdk_language
        self.sdk_version = info.sdk_version
        self.sdk_platform = info.platform
        self.sync_id = app.sync_id
        self.app_version = self.build_id = app.version
        self.function_count = app.function_count
        self.cpu_cores = info.cpu_cores
        self.mem_bytes = info.mem_bytes
        self.os = info.os

    @property
    def app(self) -> App:
        return app_named(self._reading, self.app_name)


class WorkerEdge:
    """A row of the list, with the cursor that goes on behind it."""

    def __init__(self, node: WorkerConnection) -> None:
        self.node = node
        self.cursor = _cursor(node.id, node.app_name)


def worker_by_id(reading: Reading, connection_id: str) -> WorkerConnection:
    """A connection with the first of its apps.

    Raises:
        WireError: 404 `not_found`.
    """
    context = reading.context
    info = context.worker_history.get(context.reader, connection_id)
    if info is None:
        message = f"Worker connection not found: {connection_id}"
        raise WireError(message, code="not_found", status=404)
    return WorkerConnection(reading, info, info.apps[0])


async def find_workers(
    reading: Reading,
    *,
    first: int,
    after: str | None,
    order_by: Sequence[Mapping[str, str]],
    filter: Mapping[str, Any],
) -> Connection[WorkerConnection]:
    """A page of connections.

    Raises:
        WireError: A filter cannot be read.
        LimitExceeded: Too many rows to search.
    """
    size = first if 1 <= first <= WORKERS_MAX else WORKERS_DEFAULT
    order = order_by[0] if order_by else DEFAULT_ORDER
    field = filter.get("timeField") or "CONNECTED_AT"
    from_ms, until_ms = queries.instant_ms(filter, "from"), queries.instant_ms(filter, "until")
    app_ids = filter.get("appIDs")
    found = [
        (info, app)
        for info in await _all_workers(reading, filter.get("status"))
        if _is_within(_time_ms(info, field), from_ms, until_ms)
        for app in info.apps
        if not app_ids or app_uuid(app.name) in app_ids
    ]

    def place(row: tuple[WorkerInfo, WorkerApp]) -> tuple[int, str, str]:
        info, app = row
        return (_time_ms(info, order["field"]) or 0, info.connection_id, app.name)

    found.sort(key=place, reverse=order["direction"] == "DESC")
    begin = 0
    if after:
        at = _read_cursor(after)
        names = [(info.connection_id, app.name) for info, app in found]
        if at not in names:
            raise WireError(f"Invalid cursor: {after}", code="invalid_field_format")
        begin = names.index(at) + 1
    rows = found[begin : begin + size]
    edges = [WorkerEdge(WorkerConnection(reading, info, app)) for info, app in rows]
    return Connection(
        edges,
        has_next=len(found) > begin + size,
        has_previous=begin > 0,
        count=lambda: len(found),
    )


async def _all_workers(reading: Reading, statuses: Sequence[str] | None) -> list[WorkerInfo]:
    context = reading.context
    wanted = frozenset(map(WorkerStatus, statuses or WorkerStatus))
    found: list[WorkerInfo] = []
    while True:
        infos = context.worker_history.list(
            context.reader,
            statuses=wanted,
            before=found[-1].connection_id if found else None,
            limit=READ_MAX,
        )
        reading.charge_rows(len(infos))
        found += infos
        if len(infos) < READ_MAX:
            return found
        if len(found) >= SEARCHED_MAX:
            raise LimitExceeded(
                f"there are more than {SEARCHED_MAX} worker connections to search",
                hint="narrow the filter by status, or read GET /v2/workers",
            )
        await asyncio.sleep(0)


def _time_ms(info: WorkerInfo, field: str) -> int | None:
    match field:
        case "LAST_HEARTBEAT_AT":
            return info.last_heartbeat_ms
        case "DISCONNECTED_AT":
            return info.disconnected_at_ms
        case _:
            return info.connected_at_ms


def _is_within(time_ms: int | None, from_ms: int | None, until_ms: int | None) -> bool:
    if from_ms is None and until_ms is None:
        return True
    if time_ms is None:
        return False
    return (from_ms is None or time_ms >= from_ms) and (until_ms is None or time_ms < until_ms)


def _cursor(connection_id: str, app_name: str) -> str:
    return base64.b64encode(msgspec.json.encode((connection_id, app_name))).decode()


_CURSOR: Final = msgspec.json.Decoder(tuple[str, str])


def _read_cursor(cursor: str) -> tuple[str, str]:
    try:
        return _CURSOR.decode(base64.b64decode(cursor, validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise WireError(f"Invalid cursor: {cursor}", code="invalid_field_format") from error
