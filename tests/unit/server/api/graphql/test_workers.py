"""Connections of workers by GraphQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.server.api.graphql import workers
from stepwell.server.workers import WorkerApp, WorkerStatus
from stepwell.wire.ids import app_uuid, ulid_bytes, ulid_text
from tests.unit.server.api.bench import open_api
from tests.unit.server.api.graphql.asking import data, error
from tests.unit.server.api.rest_v2.test_workers import INFO
from tests.unit.server.api.rows import T0_MS
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    import pytest

    from tests.unit.server.api.bench import Api

SHOP_ID = app_uuid("shop")
LIST = """
query Workers(
  $first: Int! = 100, $after: String, $order: [ConnectV1WorkerConnectionsOrderBy!]! = [],
  $filter: ConnectV1WorkerConnectionsFilter! = {}
) {
  workerConnections(first: $first, after: $after, orderBy: $order, filter: $filter) {
    edges { cursor node { instanceId appName status } }
    pageInfo { hasNextPage hasPreviousPage endCursor }
    totalCount
  }
}
"""


def id_of(number: int) -> str:
    return ulid_text(ulid_bytes(T0_MS + number * 1_000, bytes(10)))


def enter(api: Api, number: int, *apps: str, ended_at_ms: int | None = None) -> None:
    """Connection `number` came at its second; heartbeats were heard in the opposite order."""
    api.book.connected(
        msgspec.structs.replace(
            INFO,
            connection_id=id_of(number),
            instance_id=str(number),
            connected_at_ms=T0_MS + number * 1_000,
            last_heartbeat_ms=T0_MS + 100_000 - number,
            apps=tuple(
                WorkerApp(
                    name=name,
                    version="v1",
                    function_count=2,
                    app_id=app_uuid(name),
                    group_hash="5f" * 32,
                )
                for name in apps or ("shop",)
            ),
        )
    )
    if ended_at_ms is not None:
        api.book.leaving(id_of(number), "WORKER_SHUTDOWN")
        api.book.disconnected(id_of(number), ended_at_ms)


async def listed(api: Api, **variables: Any) -> list[str]:
    page = (await data(api, LIST, **variables))["workerConnections"]
    return [edge["node"]["instanceId"] for edge in page["edges"]]


@on_loop
async def test_a_connection_is_shown_whole() -> None:  # Connect 54
    async with open_api() as api:
        enter(api, 1, "shop", ended_at_ms=T0_MS + 9_000)
        query = """
        query One($id: ULID!) {
          workerConnection(connectionId: $id) {
            id gatewayId instanceId workerIp maxWorkerConcurrency appName appID app { name }
            connectedAt lastHeartbeatAt disconnectedAt disconnectReason status groupHash sdkLang
            sdkVersion sdkPlatform syncId buildId appVersion functionCount cpuCores memBytes os
          }
        }
        """
        assert (await data(api, query, id=id_of(1)))["workerConnection"] == {
            "id": id_of(1),
            "gatewayId": "gw-dev",
            "instanceId": "1",
            "workerIp": "203.0.113.9",
            "maxWorkerConcurrency": 3,
            "appName": "shop",
            "appID": SHOP_ID,
            "app": {"name": "shop"},
            "connectedAt": "2026-09-21T14:13:21.000Z",
            "lastHeartbeatAt": "2026-09-21T14:14:59.999Z",
            "disconnectedAt": "2026-09-21T14:13:29.000Z",
            "disconnectReason": "WORKER_SHUTDOWN",
            "status": "DISCONNECTED",
            "groupHash": "5f" * 32,
            "sdkLang": "py",
            "sdkVersion": "0.5.19",
            "sdkPlatform": "",
            "syncId": None,
            "buildId": "v1",
            "appVersion": "v1",
            "functionCount": 2,
            "cpuCores": 8,
            "memBytes": 16_000_000_000,
            "os": "linux",
        }
        code, _message, _path = await error(api, query, id=id_of(2))
        assert code == "not_found"


@on_loop
async def test_connections_are_listed_in_each_order_and_filtered() -> None:
    async with open_api() as api:
        enter(api, 1)
        enter(api, 2, ended_at_ms=T0_MS + 50_000)
        enter(api, 3, "billing")
        enter(api, 4, ended_at_ms=T0_MS + 40_000)

        def order(field: str, direction: str) -> list[dict[str, str]]:
            return [{"field": field, "direction": direction}]

        assert await listed(api) == ["4", "3", "2", "1"]
        assert await listed(api, order=order("CONNECTED_AT", "ASC")) == ["1", "2", "3", "4"]
        heard = await listed(api, order=order("LAST_HEARTBEAT_AT", "DESC"))
        assert heard == ["1", "2", "3", "4"]
        ended = await listed(
            api, order=order("DISCONNECTED_AT", "DESC"), filter={"status": ["DISCONNECTED"]}
        )
        assert ended == ["2", "4"]
        assert await listed(api, filter={"status": ["READY"]}) == ["3", "1"]
        assert await listed(api, filter={"appIDs": [app_uuid("billing")]}) == ["3"]
        second = "2026-09-21T14:13:22Z"
        assert await listed(api, filter={"from": second}) == ["4", "3", "2"]
        assert await listed(api, filter={"until": second}) == ["1"]
        in_time = {"timeField": "DISCONNECTED_AT", "from": "2026-09-21T14:14:05Z"}
        assert await listed(api, filter=in_time) == ["2"], "what has not ended has no such time"


@on_loop
async def test_each_app_is_a_row_and_pages_go_on_behind_one() -> None:
    async with open_api() as api:
        enter(api, 1, "shop", "billing")
        enter(api, 2, "shop", "mail")
        seen, after = [], None
        while True:
            page = (await data(api, LIST, first=3, after=after))["workerConnections"]
            assert page["totalCount"] == 4
            assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
            seen += [
                (edge["node"]["instanceId"], edge["node"]["appName"]) for edge in page["edges"]
            ]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                break
        assert seen == [("2", "shop"), ("2", "mail"), ("1", "shop"), ("1", "billing")]


@on_loop
async def test_a_size_that_no_page_has_is_forty() -> None:
    async with open_api() as api:
        for number in range(41):
            enter(api, number)
        for first in (400, 0, -1):
            assert len(await listed(api, first=first)) == 40
        assert len(await listed(api, first=399)) == 41


@on_loop
async def test_what_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_api() as api:
        for cursor in ("nope", "WyJhIiwiYiJd"):
            assert (await error(api, LIST, after=cursor))[0] == "invalid_field_format"
        monkeypatch.setattr(workers, "SEARCHED_MAX", 2)
        monkeypatch.setattr(workers, "READ_MAX", 2)
        for number in range(3):
            enter(api, number)
        assert (await error(api, LIST))[0] == "limit_exceeded"


def test_each_status_has_its_name_in_the_schema() -> None:
    from graphql import GraphQLEnumType

    from stepwell.server.api.graphql.execution import load_schema

    kind = load_schema().type_map["ConnectV1ConnectionStatus"]
    assert isinstance(kind, GraphQLEnumType)
    assert list(kind.values) == [status.value for status in WorkerStatus]
