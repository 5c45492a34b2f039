"""The server as a whole: its two ports, its keys, its leaving."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from stepwell.wire.connect import Kind, StartResponse
from stepwell.wire.keys import hash_signing_key
from tests.e2e.api.served import serve
from tests.unit.server.gateway.messages import HEARTBEAT, app, function
from tests.unit.server.loop import on_loop

KEY = "ab" * 32
START = {"mode": "start", "host": "127.0.0.1", "signing_key": KEY, "event_keys": ("key",)}


@on_loop
async def test_both_ports_are_told_where_they_are() -> None:  # Connect 1, 4
    async with serve() as served:
        port = urlsplit(served.server.gateway_url).port
        assert (await served.get("/dev"))["startOpts"]["connectGatewayPort"] == port
        _, body = await served.request("POST", "/v0/connect/start", b"", Host="foo:8288")
        assert StartResponse.FromString(body).gateway_endpoint == f"ws://foo:{port}/v0/connect"
        assert (await served.request("GET", "/ready"))[0] == 200


@on_loop
async def test_a_public_url_is_given_as_it_is() -> None:
    url = "wss://connect.example.com/v0/connect"
    async with serve(connect_public_url=url) as served:
        _, body = await served.request("POST", "/v0/connect/start", b"")
        assert StartResponse.FromString(body).gateway_endpoint == url
        assert served.server.gateway_url == url


@on_loop
async def test_a_keyed_server_takes_workers_with_the_key_only() -> None:  # Connect 2
    async with serve(**START) as served:
        for headers in ({}, {"Authorization": "Bearer " + "00" * 32}):
            assert (await served.request("POST", "/v0/connect/start", b"", **headers))[0] == 401
            assert (await served.request("POST", "/v0/connect/flush", b"x", **headers))[0] == 401
        bearer = {"Authorization": f"Bearer signkey-prod-{hash_signing_key(KEY)}"}
        async with served.worker(headers=bearer) as worker:
            assert await worker.is_idle()


@on_loop
async def test_a_worker_shows_in_the_list_and_on_the_page() -> None:  # Connect 54
    async with serve() as served, served.worker():
        (worker,) = (await served.get("/v2/workers"))["data"]
        assert (worker["instanceId"], worker["status"]) == ("box-7", "READY")
        assert worker["apps"][0]["functionCount"] == 1
        (listed,) = (await served.get("/v2/apps"))["data"]
        assert (listed["id"], listed["functionCount"]) == ("shop", 1)
        _, page = await served.request("GET", "/")
        assert b"box-7" in page


@on_loop
async def test_functions_that_a_new_version_lacks_no_longer_start() -> None:  # Connect 49
    old = app(version="v1", functions=[function("shop-a"), function("shop-b")])
    new = app(version="v2", functions=[function("shop-b"), function("shop-c")])
    async with serve() as served, served.worker(old), served.worker(new):
        event_id = await served.send_event()
        functions = (await served.get("/v2/apps/shop/functions"))["data"]
        assert [one["slug"] for one in functions] == ["b", "c"]
        assert len(await served.runs_of(event_id)) == 2


@on_loop
async def test_a_server_that_stops_says_so_serves_on_and_ends_its_workers() -> None:  # Connect 36
    async with serve(connect_drain_wait_ms=200) as served, served.worker() as worker:
        await served.send_event()
        await worker.call()
        stopping = asyncio.create_task(served.server.stop())
        await worker.receive(Kind.GATEWAY_CLOSING)
        assert (await served.request("GET", "/ready"))[0] == 503
        assert (await served.request("GET", "/health"))[0] == 200
        assert (await served.request("POST", "/v0/connect/start", b""))[0] == 200
        await worker.send(HEARTBEAT)
        await worker.receive(Kind.GATEWAY_HEARTBEAT)
        await worker.socket.wait_closed()
        assert (worker.socket.close_code, worker.socket.close_reason) == (
            1001, "connect_gateway_closing",
        )  # fmt: skip
        await stopping


@on_loop
async def test_a_server_that_ends_at_once_still_closes_its_sockets_with_a_reason() -> None:
    async with serve() as served, served.worker() as worker:
        await served.server.__aexit__(None, None, None)
        await worker.socket.wait_closed()
        assert (worker.socket.close_code, worker.socket.close_reason) == (
            1001, "connect_gateway_closing",
        )  # fmt: skip
