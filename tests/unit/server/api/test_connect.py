"""`POST /v0/connect/start` and `/flush`. Numbers: the Connect reference's behaviours."""

from __future__ import annotations

import pytest

from stepwell.server.api.connect import endpoint_for
from stepwell.server.workers import WorkerInfo, WorkerStatus
from stepwell.wire.connect import FlushResponse, SDKResponse, StartRequest, StartResponse
from stepwell.wire.ids import parse_ulid, ulid_ms
from stepwell.wire.keys import hash_signing_key
from tests.unit.server.api.bench import GATEWAY_URL, open_api
from tests.unit.server.loop import on_loop

KEY = "ab" * 32


def worker(connection_id: str) -> WorkerInfo:
    return WorkerInfo(
        connection_id=connection_id,
        instance_id="box-7",
        apps=(),
        status=WorkerStatus.READY,
        connected_at_ms=1,
        last_heartbeat_ms=1,
        sdk_language="py",
        sdk_version="0.5.19",
        platform="",
        ip="127.0.0.1",
        os="linux",
        cpu_cores=8,
        mem_bytes=1,
        max_worker_concurrency=None,
    )


@on_loop
async def test_a_start_gives_a_connection_and_the_way_to_it() -> None:  # 1
    async with open_api() as api:
        answer = await api.post("/v0/connect/start", b"", Content_Type="application/protobuf")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        start = StartResponse.FromString(answer.body)
        ahead_ms = ulid_ms(parse_ulid(start.connection_id)) - api.runtime.now_ms()
        assert abs(ahead_ms) < 60_000
        assert start.gateway_endpoint == GATEWAY_URL
        assert start.gateway_group == "gw-dev"
        assert start.session_token == f"token of {start.connection_id}"
        assert start.sync_token == ""
        other = StartResponse.FromString((await api.post("/v0/connect/start")).body)
        assert other.connection_id != start.connection_id


@on_loop
async def test_the_sync_token_is_the_bearer_as_it_came() -> None:  # 2
    async with open_api(mode="start", signing_key=KEY, event_keys=("k",)) as api:
        for bearer in (KEY, hash_signing_key(KEY), f"signkey-prod-{hash_signing_key(KEY)}"):
            answer = await api.post("/v0/connect/start", Authorization=f"Bearer {bearer}")
            assert StartResponse.FromString(answer.body).sync_token == bearer


@on_loop
async def test_an_excluded_group_is_given_when_there_is_no_other() -> None:  # 5
    async with open_api() as api:
        body = StartRequest(exclude_gateways=["gw-dev"]).SerializeToString()
        assert (await api.post("/v0/connect/start", body)).status == 200


@on_loop
async def test_a_start_that_is_no_protobuf_is_a_400() -> None:  # 3
    async with open_api() as api:
        answer = await api.post("/v0/connect/start", b"\xff\xff")
        assert (answer.status, answer.json["error"]) == (400, "could not unmarshal request")


@on_loop
async def test_a_start_beyond_the_limit_is_a_429_that_names_the_setting() -> None:  # 3
    async with open_api(connections_max=1) as api:
        assert (await api.post("/v0/connect/start")).status == 200
        api.book.connected(worker("one"))
        answer = await api.post("/v0/connect/start")
        assert (answer.status, answer.json["code"]) == (429, "connections_taken")
        assert "raise --connections-max (STEPWELL_CONNECTIONS_MAX)" in answer.json["error"]
        assert answer.json["status"] == 429
        assert answer.json["data"] is None
        api.book.disconnected("one", 2)
        assert (await api.post("/v0/connect/start")).status == 200


@on_loop
async def test_a_start_is_answered_while_the_server_drains() -> None:
    async with open_api() as api:
        api.drained = True
        assert (await api.post("/v0/connect/start")).status == 200


@on_loop
async def test_a_flush_of_an_unknown_reply_is_acknowledged_each_time() -> None:  # 22, 23
    async with open_api() as api:
        request_id = "01K7T0C0000000000000000001"
        body = SDKResponse(request_id=request_id, status=1, body=b"1").SerializeToString()  # type: ignore[arg-type]
        for _ in range(2):
            answer = await api.post("/v0/connect/flush", body)
            assert answer.status == 200
            assert FlushResponse.FromString(answer.body).request_id == request_id


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "missing request body"),
        (b"\xff\xff", "could not unmarshal request"),
        (SDKResponse(body=b"1").SerializeToString(), "missing request_id"),
    ],
)
def test_a_flush_that_is_no_reply_is_a_400(body: bytes, error: str) -> None:  # 23
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            answer = await api.post("/v0/connect/flush", body)
            assert (answer.status, answer.json["error"]) == (400, error)

    check()


@pytest.mark.parametrize(
    ("host_header", "address", "url"),
    [
        ("foo:8288", "127.0.0.1", "ws://foo:8289/v0/connect"),  # 4
        ("foo", "127.0.0.1", "ws://foo:8289/v0/connect"),
        ("foo_bar.internal:80", "127.0.0.1", "ws://foo_bar.internal:8289/v0/connect"),
        ("[::1]:8288", "127.0.0.1", "ws://[::1]:8289/v0/connect"),
        ("", "127.0.0.1", "ws://127.0.0.1:8289/v0/connect"),
        ("", "::1", "ws://[::1]:8289/v0/connect"),
        ("", "0.0.0.0", "ws://127.0.0.1:8289/v0/connect"),
        ("", "::", "ws://127.0.0.1:8289/v0/connect"),
        ("0.0.0.0:8288", "127.0.0.1", "ws://127.0.0.1:8289/v0/connect"),
        ("evil/../x", "127.0.0.1", "ws://127.0.0.1:8289/v0/connect"),
        ("user@evil", "127.0.0.1", "ws://127.0.0.1:8289/v0/connect"),
        ("a b", "127.0.0.1", "ws://127.0.0.1:8289/v0/connect"),
    ],
)
def test_the_gateway_is_where_the_caller_found_us(host_header: str, address: str, url: str) -> None:
    assert endpoint_for(host_header, gateway_port=8289, address=address) == url
