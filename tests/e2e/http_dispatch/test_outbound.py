"""The policy of outgoing requests, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.errors import OutboundError
from stepwell.server.outbound import APPS, OutboundClient, for_functions
from tests.e2e.http_dispatch.raw_app import Link, RawApp, Request, always, response
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from stepwell.server.outbound import OutboundResponse, Profile

DEV = for_functions(is_dev=True)
START = for_functions(is_dev=False)


@contextlib.asynccontextmanager
async def client(
    profile: Profile = APPS, *, keeps_all: bool = True, names: dict[str, list[str]] | None = None
) -> AsyncIterator[OutboundClient]:
    """A client; `names` says what look-ups give, one after the other."""
    left = {name: list(addresses) for name, addresses in (names or {}).items()}

    async def resolve(host: str, port: int) -> list[Any]:
        addresses = left.get(host)
        if addresses is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        address = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        return [
            {"hostname": host, "host": each, "port": port, "proto": 0, "flags": 0,
             "family": socket.AF_INET6 if ":" in each else socket.AF_INET}
            for each in address.split(",")
        ]  # fmt: skip

    made = OutboundClient(profile, keeps_all=keeps_all, resolve=resolve if names else None)
    try:
        yield made
    finally:
        await made.close()


async def post(client: OutboundClient, url: str, **more: Any) -> OutboundResponse:
    given: dict[str, Any] = {"headers": {"X-A": "b"}, "body": b"{}", "timeout_s": 5.0} | more
    return await client.request("POST", url, **given)


async def refusal(client: OutboundClient, url: str, **more: Any) -> OutboundError:
    with pytest.raises(OutboundError) as refused:
        await post(client, url, **more)
    return refused.value


@on_loop
async def test_an_answer_comes_back_whole() -> None:
    raw = response(207, b"hello", X_Twice="1") + b""
    async with RawApp(always(raw)) as app, client() as outbound:
        found = await post(outbound, app.url)
        assert (found.status, found.body, found.url) == (207, b"hello", app.url)
        assert found.headers["x-twice"] == "1"
        (request,) = app.requests
        assert (request.method, request.body, request.headers["x-a"]) == ("POST", b"{}", "b")
        assert request.headers["user-agent"].startswith("Stepwell/")


@on_loop
async def test_a_packed_answer_is_unpacked() -> None:
    packed = gzip.compress(b"x" * 1_000)
    raw = response(200, packed, Content_Encoding="gzip")
    async with RawApp(always(raw)) as app, client() as outbound:
        assert (await post(outbound, app.url)).body == b"x" * 1_000
        too_large = await refusal(outbound, app.url, bytes_max=999)
        assert too_large.code == "outbound_too_large"


HOSTILE = {
    "nothing": (b"", "outbound_unreachable", "closed the connection"),
    "nonsense": (b"hello\r\n\r\n", "outbound_answer_invalid", "HTTP"),
    "cut off": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "outbound_answer_invalid",
                "middle"),
    "bad chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
                  "outbound_answer_invalid", "HTTP"),
    "chunks that end": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
                        "outbound_answer_invalid", "middle"),
    "huge head": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
                  "outbound_answer_invalid", "HTTP"),
    "many heads": (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 2_000 + b"\r\n",
                   "outbound_answer_invalid", "HTTP"),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab",
                    "outbound_answer_invalid", "HTTP"),
    "says it is huge": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\nab",
                        "outbound_too_large", "8388608"),
    "is huge": (b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * (8 * 2**20 + 1), "outbound_too_large", ""),
    "packed in what was not asked for": (response(200, b"abc", Content_Encoding="br"),
                                         "outbound_answer_invalid", "br"),
    "packed in nonsense": (response(200, b"abc", Content_Encoding="gzip"),
                           "outbound_answer_invalid", "unpacked"),
    "leads to metadata": (response(307, Location="http://169.254.169.254/latest/"),
                          "outbound_address_refused", "169.254.169.254"),
    "leads to metadata in another notation": (
        response(307, Location="http://[::ffff:a9fe:a9fe]/"), "outbound_address_refused", ""),
    "leads to a file": (response(307, Location="file:///etc/passwd"),
                        "outbound_redirect_refused", "file"),
    "leads in circles": (response(307, Location="/again"), "outbound_redirect_refused", "10"),
    "wants a GET": (response(303, Location="/again"), "outbound_redirect_refused", "method"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@on_loop
async def test_a_hostile_answer_is_an_error_with_a_reason(name: str) -> None:
    raw, code, text = HOSTILE[name]
    async with RawApp(always(raw, closes=True)) as app, client() as outbound:
        error = await refusal(outbound, app.url)
        assert (error.code, text in error.message) == (code, True), error.message


@on_loop
async def test_a_reset_in_the_middle_is_an_error() -> None:
    async def answer(_request: Request, link: Link) -> None:
        await link.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        link.reset()

    async with RawApp(answer) as app, client() as outbound:
        error = await refusal(outbound, app.url)
        assert error.code in ("outbound_answer_invalid", "outbound_unreachable")


@on_loop
async def test_drops_of_an_answer_do_not_stretch_the_time() -> None:
    async def answer(_request: Request, link: Link) -> None:
        await link.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await link.write(b"a")
            await asyncio.sleep(0.01)

    async with RawApp(answer) as app, client() as outbound:
        error = await refusal(outbound, app.url, timeout_s=0.3)
        assert (error.code, "0.3 s" in error.message) == ("outbound_timeout", True)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://a/", "outbound_url_invalid"),
        ("http://", "outbound_url_invalid"),
        ("//a/", "outbound_url_invalid"),
        ("http://[::1", "outbound_url_invalid"),
        ("http://a:99999/", "outbound_url_invalid"),
        ("http://user:secret@127.0.0.1/", "outbound_url_invalid"),
        ("http://169.254.169.254/", "outbound_address_refused"),
        ("http://2852039166/", "outbound_address_refused"),
        ("http://0xa9fea9fe/", "outbound_address_refused"),
        ("http://0251.0376.0251.0376/", "outbound_address_refused"),
        ("http://169.254.43518/", "outbound_address_refused"),
        ("http://[fe80::1]/", "outbound_address_refused"),
        ("http://[fd00:ec2::254]/", "outbound_address_refused"),
        ("http://100.100.100.200/", "outbound_address_refused"),
        ("http://0.0.0.0/", "outbound_address_refused"),
    ],
)
@on_loop
async def test_what_is_refused_before_anything_is_sent(url: str, code: str) -> None:
    async with client() as outbound:
        error = await refusal(outbound, url)
        assert error.code == code
        assert "secret" not in error.message


@on_loop
async def test_a_name_is_checked_by_its_addresses() -> None:
    names = {
        "metadata.test": ["169.254.169.254"],
        "both.test": ["169.254.169.254,127.0.0.1"],
        "private.test": ["10.0.0.1"],
    }
    async with RawApp(always(response(200, b"1"))) as app:
        async with client(names=names) as outbound:
            error = await refusal(outbound, f"http://metadata.test:{app.port}/")
            assert error.code == "outbound_address_refused"
            assert "169.254.169.254" in error.message
            assert (await post(outbound, f"http://both.test:{app.port}/")).body == b"1"
            nobody = await refusal(outbound, "http://nobody.test/")
            assert (nobody.code, "no address" in nobody.message) == ("outbound_unreachable", True)
        async with client(START, names=names) as outbound:
            assert (await refusal(outbound, "http://private.test/")).code == (
                "outbound_address_refused"
            )


@on_loop
async def test_a_name_that_changes_its_address_gains_nothing() -> None:
    """Each look-up is followed by a check of what it gave: there is no time in between."""
    names = {"rebind.test": ["127.0.0.1", "169.254.169.254"]}
    closing = response(200, b"1", Connection="close")
    async with RawApp(always(closing, closes=True)) as app, client(names=names) as outbound:
        url = f"http://rebind.test:{app.port}/"
        assert (await post(outbound, url)).status == 200
        outbound_again = OutboundClient(APPS, resolve=outbound._resolve)
        try:
            assert (await refusal(outbound_again, url)).code == "outbound_address_refused"
        finally:
            await outbound_again.close()
        assert len(app.requests) == 1


@pytest.mark.parametrize(("profile", "allowed"), [(DEV, True), (START, False)])
@on_loop
async def test_functions_reach_this_machine_in_development_only(
    profile: Profile, allowed: bool
) -> None:
    async with RawApp(always(response(200, b"1"))) as app, client(profile) as outbound:
        if allowed:
            assert (await post(outbound, app.url)).status == 200
        else:
            assert (await refusal(outbound, app.url)).code == "outbound_address_refused"
            assert app.connections == 0


@on_loop
async def test_a_redirect_to_another_app_keeps_a_call_whole() -> None:
    async with RawApp(always(response(200, b"1"))) as there:
        leads_on = response(302, Location=f"{there.url}/?a=1")
        async with RawApp(always(leads_on)) as here, client() as outbound:
            found = await post(outbound, f"{here.url}?fnId=f&stepId=step")
            assert found.body == b"1"
            (request,) = there.requests
            assert (request.method, request.body, request.headers["x-a"]) == ("POST", b"{}", "b")
            assert request.query == {"a": "1", "fnId": "f", "stepId": "step"}


@on_loop
async def test_connections_are_used_again() -> None:
    async with RawApp(always(response(200, b"1"))) as app, client() as outbound:
        for _ in range(5):
            await post(outbound, app.url)
        assert (len(app.requests), app.connections) == (5, 1)


@on_loop
async def test_a_request_on_a_connection_that_has_just_closed_is_made_again() -> None:
    async def answer(_request: Request, link: Link) -> None:
        if len(app.requests) == 2:
            link.close()  # as if it had closed while the request was on its way
        else:
            await link.write(response(200, b"1"))

    async with RawApp(answer) as app, client() as outbound:
        assert (await post(outbound, app.url)).body == b"1"
        assert (await post(outbound, app.url)).body == b"1"
        assert (len(app.requests), app.connections) == (3, 2)


@on_loop
async def test_a_first_request_without_an_answer_is_not_made_again() -> None:
    async with RawApp(always(b"", closes=True)) as app, client() as outbound:
        assert (await refusal(outbound, app.url)).code == "outbound_unreachable"
        assert len(app.requests) == 1


@on_loop
async def test_a_large_body_leaves_whole() -> None:
    async with RawApp(always(response(200, b"1"))) as app, client() as outbound:
        body = b"x" * (4 * 2**20)
        assert (await post(outbound, app.url, body=body)).status == 200
        assert app.requests[0].body == body


@on_loop
async def test_a_header_cannot_smuggle_another() -> None:
    async with RawApp(always(response(200, b"1"))) as app, client() as outbound:
        error = await refusal(outbound, app.url, headers={"X-A": "b\r\nX-Evil: 1"})
        assert error.code.startswith("outbound_")
        assert app.requests == []


@on_loop
async def test_a_closed_client_asks_nobody() -> None:
    async with RawApp(always(response(200, b"1"))) as app:
        outbound = OutboundClient(APPS)
        await post(outbound, app.url)
        await outbound.close()
        await outbound.close()
        assert (await refusal(outbound, app.url)).code == "outbound_unreachable"
        assert len(app.requests) == 1
