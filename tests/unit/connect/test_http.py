"""Start, flush and state requests against a real server."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import msgspec
import pytest

from stepwell.connect.http import ConnectHttp, ReplyTooLarge, ServerUnreachable
from stepwell.errors import AuthError
from stepwell.wire.connect import SDKResponse
from stepwell.wire.keys import bearer_token
from tests.unit.connect.gateway import GROUP, Gateway
from tests.unit.connect.loop import on_loop

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = "signkey-prod-0123456789abcdef0123456789abcdef"
FALLBACK = "signkey-prod-fedcba9876543210fedcba9876543210"
REPLY = SDKResponse(request_id="req-1", body=b"{}").SerializeToString()


def http_of(gateway: Gateway, keys: Sequence[str] = (), env: str | None = None) -> ConnectHttp:
    return ConnectHttp(base_url=gateway.api_url, keys=keys, env=env)


def authorizations(gateway: Gateway) -> list[str | None]:
    return [headers.get("Authorization") for _, headers in gateway.starts]


@on_loop
async def test_start_asks_where_to_connect() -> None:
    async with Gateway() as gateway, http_of(gateway, [KEY], "branch") as http:
        answer = await http.start(["gw-old"])

        assert answer.gateway_endpoint == gateway.gateway_url
        assert answer.gateway_group == GROUP
        [(request, headers)] = gateway.starts
        assert list(request.exclude_gateways) == ["gw-old"]
        assert headers["Content-Type"] == "application/protobuf"
        assert headers["Authorization"] == f"Bearer {bearer_token(KEY)}"
        assert headers["X-Inngest-Env"] == "branch"


@on_loop
async def test_without_a_key_nothing_is_claimed() -> None:
    async with Gateway() as gateway, http_of(gateway) as http:
        await http.start([])

        assert authorizations(gateway) == [None]
        assert "X-Inngest-Env" not in gateway.starts[0][1]


@pytest.mark.parametrize("status", [401, 403])
def test_fallback_key_is_tried_and_kept(status: int) -> None:
    @on_loop
    async def story() -> None:
        async with Gateway() as gateway, http_of(gateway, [KEY, FALLBACK]) as http:
            gateway.start_statuses = [status]

            await http.start([])
            await http.start([])

            key, fallback = (f"Bearer {bearer_token(one)}" for one in (KEY, FALLBACK))
            assert authorizations(gateway) == [key, fallback, fallback]

    story()


@pytest.mark.parametrize(
    ("keys", "hint", "code"),
    [
        ([], "STEPWELL_SIGNING_KEY", "signing_key_missing"),
        ([KEY], "STEPWELL_SIGNING_KEY_FALLBACK", "signing_key_refused"),
        ([KEY, FALLBACK], "neither the signing key nor the fallback", "signing_key_refused"),
    ],
)
def test_refused_keys_are_explained(keys: list[str], hint: str, code: str) -> None:
    @on_loop
    async def story() -> None:
        async with Gateway() as gateway, http_of(gateway, keys) as http:
            gateway.start_statuses = [401] * 2

            with pytest.raises(AuthError, match=hint) as caught:
                await http.start([])

            assert caught.value.code == code
            assert "Authentication failed" in str(caught.value)

    story()


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_other_refusals_may_pass(status: int) -> None:
    @on_loop
    async def story() -> None:
        async with Gateway() as gateway, http_of(gateway, [KEY]) as http:
            gateway.start_statuses = [status]

            with pytest.raises(ServerUnreachable, match=f"answered {status}"):
                await http.start([])
            await http.start([])

    story()


@on_loop
async def test_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async with ConnectHttp(base_url=f"http://127.0.0.1:{port}", keys=[], env=None) as http:
        with pytest.raises(ServerUnreachable, match=f"cannot reach http://127.0.0.1:{port}"):
            await http.start([])


@on_loop
async def test_flush_leaves_a_reply() -> None:
    async with Gateway() as gateway, http_of(gateway) as http:
        await http.flush(REPLY)

        assert (await gateway.flushed_reply()).request_id == "req-1"


@on_loop
async def test_largest_reply_can_be_flushed() -> None:
    large = SDKResponse(request_id="large", body=b"x" * (8 * 2**20))
    async with Gateway() as gateway, http_of(gateway) as http:
        await http.flush(large.SerializeToString())

        assert await gateway.flushed_reply() == large


@on_loop
async def test_flush_that_was_not_stored_raises() -> None:
    async with Gateway() as gateway, http_of(gateway) as http:
        gateway.flush_statuses = [503]

        with pytest.raises(ServerUnreachable, match="answered 503: not now"):
            await http.flush(REPLY)


@on_loop
async def test_large_state_is_fetched() -> None:
    async with Gateway() as gateway, http_of(gateway, [KEY]) as http:
        gateway.state = {
            "run-1/actions": {"hash": {"data": 1}, "nap": None},
            "run-1/batch": [{"name": "a"}, {"name": "b"}],
        }

        assert await http.steps_of("run-1") == {
            "hash": msgspec.Raw(b'{"data": 1}'),
            "nap": msgspec.Raw(b"null"),
        }
        assert await http.events_of("run-1") == [
            msgspec.Raw(b'{"name": "a"}'),
            msgspec.Raw(b'{"name": "b"}'),
        ]
        assert gateway.state_requests == [
            ("run-1/actions", f"Bearer {bearer_token(KEY)}"),
            ("run-1/batch", f"Bearer {bearer_token(KEY)}"),
        ]


@on_loop
async def test_state_that_is_gone_or_wrong_raises() -> None:
    async with Gateway() as gateway, http_of(gateway) as http:
        gateway.state = {"run-1/actions": ["not", "steps"]}

        with pytest.raises(ServerUnreachable, match="actions of run run-1 cannot be read"):
            await http.steps_of("run-1")
        with pytest.raises(ServerUnreachable, match="answered 410"):
            await http.steps_of("run-2")


@on_loop
async def test_reply_that_the_server_finds_too_large_is_told_apart() -> None:
    async with Gateway() as gateway, http_of(gateway) as http:
        gateway.flush_statuses = [413]

        with pytest.raises(ReplyTooLarge, match=f"does not take {len(REPLY)} bytes"):
            await http.flush(REPLY)
