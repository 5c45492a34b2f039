"""How a server comes to know served apps. Numbers: http-sdk's behaviours."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.server.apps.discovery import discover
from stepwell.server.outbound import APPS, OutboundClient
from stepwell.wire.signing import sign, verify
from tests.e2e.api.served import Served, serve
from tests.e2e.http_dispatch.raw_app import (
    Link,
    RawApp,
    Request,
    always,
    register,
    registration,
    response,
)
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from tests.e2e.http_dispatch.raw_app import Handler

KEY = "signkey-prod-0123456789abcdef0123456789abcdef"
OTHER_KEY = "signkey-prod-ffffffffffffffffffffffffffffffff"
AUTH: dict[str, Any] = {"Authorization": f"Bearer {KEY}"}
START: dict[str, Any] = {
    "mode": "start", "signing_key": KEY, "event_keys": ("key",), "host": "127.0.0.1",
    "poll_interval_ms": 100,
}  # fmt: skip


async def listed(served: Served, wanted: str, *, error: str | None = None) -> dict[str, Any]:
    """An app of the list, once it has this error, or none."""
    async with asyncio.timeout(5):
        while True:
            status, body = await served.request("GET", "/v2/apps", **AUTH)
            assert status == 200, body
            for app in msgspec.json.decode(body).get("data", []):
                if app["id"] == wanted and app.get("error", {}).get("code") == error:
                    found: dict[str, Any] = app
                    return found
            await asyncio.sleep(0.01)


def registers_itself(served: list[Served], *, app: str = "shop") -> Handler:
    """Answers a sync as SDKs do: it registers at its server, then says so."""

    async def answer(request: Request, link: Link) -> None:
        assert (request.method, set(request.json)) == ("PUT", {"url"})
        await register(served[0], request.json["url"], app=app)
        await link.write(response(200, b'{"message":"Successfully registered","modified":true}'))

    return answer


def in_band(*, key: str | None, app: str = "shop", newline: bool = False) -> Handler:
    """Answers a sync with its configuration."""

    async def answer(request: Request, link: Link) -> None:
        url = request.json["url"]
        fields = registration(url, app=app)
        body = msgspec.json.encode(
            {"app_id": app, "url": url, "functions": fields["functions"],
             "sdk_language": "py", "sdk_version": "0.5.19", "framework": "raw"}
        )  # fmt: skip
        more: dict[str, str] = {"X_Inngest_Sync_Kind": "in_band"}
        if key is not None:
            more["X_Inngest_Signature"] = sign(body, key=key, unix_s=int(time.time()))
        await link.write(response(200, body + (b"\n" if newline else b""), **more))

    return answer


@on_loop
async def test_an_app_that_is_named_is_asked_and_registers() -> None:
    served: list[Served] = []
    async with (
        RawApp(registers_itself(served)) as shop,
        serve(sdk_urls=(shop.url,), poll_interval_ms=100) as server,
    ):
        served.append(server)
        app = await listed(server, "shop")
        assert (app["method"], app["functionCount"]) == ("SERVE", 1)
        first = shop.requests[0]
        assert first.headers["x-inngest-server-kind"] == "dev"
        assert "x-inngest-signature" not in first.headers
        assert "x-inngest-sync-kind" not in first.headers
        assert [app["id"] for app in (await server.get("/v2/apps"))["data"]] == ["shop"]
        asked = len(shop.requests)
        async with asyncio.timeout(5):  # it is asked again and again
            while len(shop.requests) < asked + 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@on_loop
async def test_an_app_that_is_not_there_yet_is_listed_by_its_url() -> None:
    served: list[Served] = []
    shop = RawApp(registers_itself(served))
    await shop.listen()
    await shop.stop()
    normal = shop.url.replace("127.0.0.1", "localhost")
    async with serve(sdk_urls=(shop.url,), poll_interval_ms=100, no_poll=True) as server:
        served.append(server)
        site = await listed(server, normal, error="unreachable")
        assert "connection refused" in site["error"]["text"]
        await shop.listen()
        try:
            assert (await listed(server, "shop"))["functionCount"] == 1
        finally:
            await shop.stop()


@pytest.mark.parametrize("newline", [False, True])
@on_loop
async def test_with_a_key_an_app_answers_with_its_functions(newline: bool) -> None:  # 13
    async with (
        RawApp(in_band(key=KEY, newline=newline)) as shop,
        serve(sdk_urls=(shop.url,), **START) as served,
    ):
        app = await listed(served, "shop")
        assert (app["functionCount"], app["latestSync"]["sdkLanguage"]) == (1, "py")
        request = shop.requests[0]
        assert request.headers["x-inngest-sync-kind"] == "in_band"
        assert request.headers["x-inngest-server-kind"] == "cloud"
        signature = request.headers["x-inngest-signature"]
        assert verify(request.body, signature, keys=[KEY], now_s=int(time.time())) == KEY


@pytest.mark.parametrize("key", [None, OTHER_KEY])
@on_loop
async def test_functions_that_nobody_signed_are_not_taken(key: str | None) -> None:
    async with (
        RawApp(in_band(key=key)) as shop,
        serve(sdk_urls=(shop.url,), **START) as served,
    ):
        normal = shop.url.replace("127.0.0.1", "localhost")
        await listed(served, normal, error="response_unsigned")
        status, body = await served.request("GET", "/v2/apps/shop", **AUTH)
        assert (status, b"not_found" in body or b"not found" in body) == (404, True)


@on_loop
async def test_a_signature_that_is_refused_is_tried_with_the_fallback() -> None:
    async def answer(request: Request, link: Link) -> None:
        signature = request.headers["x-inngest-signature"]
        try:
            verify(request.body, signature, keys=[OTHER_KEY], now_s=int(time.time()))
        except Exception:
            await link.write(response(401, b'{"message":"Unauthorized"}', sdk=None))
        else:
            await in_band(key=OTHER_KEY)(request, link)

    async with (
        RawApp(answer) as shop,
        serve(sdk_urls=(shop.url,), signing_key_fallback=OTHER_KEY, **START) as served,
    ):
        await listed(served, "shop")
        assert len(shop.requests) == 2


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (response(401, b'{"message":"Unauthorized"}', sdk=None), "unauthorized"),
        (response(404, b"<html>", sdk=None), "url_not_found"),
        (response(500, b"oops"), "internal_server_error"),
        (response(200, b"hello", sdk=None), "not_sdk"),
        (response(200, b'{"message":"Expected server kind cloud, got dev"}'),
         "registration_refused"),
        (response(307, Location="http://169.254.169.254/"), "address_refused"),
        (response(200, b"a" * 5 * 2**20), "unreachable"),
    ],
)  # fmt: skip
@on_loop
async def test_what_is_wrong_with_an_app_is_shown(raw: bytes, error: str) -> None:
    async with (
        RawApp(always(raw)) as shop,
        serve(sdk_urls=(shop.url,), poll_interval_ms=100) as served,
    ):
        site = await listed(served, shop.url.replace("127.0.0.1", "localhost"), error=error)
        assert site["error"]["text"]
        assert site["latestSync"]["status"] == "error"


@on_loop
async def test_a_url_without_a_path_gets_a_hint() -> None:
    async with (
        RawApp(always(response(404, b"<html>", sdk=None))) as shop,
        serve(sdk_urls=(shop.url.rpartition("/api/")[0],), poll_interval_ms=100) as served,
    ):
        host = shop.url.replace("127.0.0.1", "localhost").rpartition("/api/")[0]
        site = await listed(served, host, error="url_not_found")
        assert site["error"]["text"].endswith(f"; apps are mostly served at {host}/api/inngest")


@on_loop
async def test_an_edit_of_an_app_is_in_force_a_moment_later() -> None:
    functions: list[Any] = []

    async def answer(request: Request, link: Link) -> None:
        url = request.json["url"]
        fields = registration(url)["functions"] + functions
        await register(server, url, functions=fields)
        await link.write(response(200, b'{"ok":true,"modified":true}'))

    async with (
        RawApp(answer) as shop,
        serve(sdk_urls=(shop.url,), poll_interval_ms=100) as server,
    ):
        assert (await listed(server, "shop"))["functionCount"] == 1
        more = registration(shop.url)["functions"][0] | {"id": "shop-more"}
        more["steps"]["step"]["runtime"]["url"] = f"{shop.url}?fnId=shop-more&stepId=step"
        functions.append(more)
        async with asyncio.timeout(5):
            while (await listed(server, "shop"))["functionCount"] != 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@on_loop
async def test_apps_are_found_on_this_machine() -> None:
    async def answer(request: Request, link: Link) -> None:
        here = request.target == "/x/inngest"
        await link.write(response(200 if here else 404, sdk="inngest-js:v4" if here else None))

    async def silent(_request: Request, _link: Link) -> None:
        await asyncio.Event().wait()

    closed = RawApp(silent)
    await closed.listen()
    await closed.stop()
    async with RawApp(answer) as shop, RawApp(always(response(200, sdk=None))) as other:
        client = OutboundClient(APPS)
        try:
            found = await discover(client, ports=(shop.port, other.port, closed.port))
            assert found == [f"http://localhost:{shop.port}/x/inngest"]
            assert await discover(client, ports=(shop.port,), without=(shop.port,)) == []
        finally:
            await client.close()


@on_loop
async def test_a_development_server_finds_an_app(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Served] = []

    async def answer(request: Request, link: Link) -> None:
        if request.method == "GET":
            await link.write(response(200))
        else:
            await registers_itself(served)(request, link)

    async with RawApp(answer) as shop:
        monkeypatch.setattr("stepwell.server.apps.discovery.PORTS", ())
        monkeypatch.setenv("PORT", str(shop.port))
        async with serve(no_discovery=False, poll_interval_ms=100) as server:
            served.append(server)
            assert (await listed(server, "shop"))["functionCount"] == 1


@on_loop
async def test_an_app_can_be_taken_out() -> None:
    async with RawApp(always(response(200, b"1"))) as shop, serve() as served:
        await register(served, shop.url)
        normal = shop.url.replace("127.0.0.1", "localhost")
        assert (await served.request("DELETE", f"/fn/remove?url={normal}"))[0] == 200
        assert "data" not in await served.get("/v2/apps")
        event_id = await served.send_event()
        assert await served.runs_of(event_id) == []
        status, body = await served.request("DELETE", f"/fn/remove?url={shop.url}")
        assert (status, f"App not found: {shop.url}".encode() in body) == (404, True)
        assert (await served.request("DELETE", "/fn/remove"))[0] == 404
        await register(served, shop.url)  # it may come back
        assert (await served.ended(await served.send_event()))["status"] == "Completed"


@pytest.mark.parametrize(("allowed", "status"), [(False, 400), (True, 200)])
@on_loop
async def test_a_dangerous_sdk_is_refused_outside_development(allowed: bool, status: int) -> None:
    async with serve(**START, allow_vulnerable_sdks=allowed) as served:
        body = msgspec.json.encode(registration("http://a/", sdk="js:v3.30.0"))
        got, answer = await served.request("POST", "/fn/register", body, **AUTH)
        assert got == status
        assert (b"sdk_version_denied" in answer) is not allowed


@on_loop
async def test_a_dangerous_sdk_is_a_warning_in_development(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve() as served:
        for _ in range(2):
            await register(served, "http://a/", sdk="js:v3.30.0")
    texts = [record.message for record in caplog.records if "3.22.0" in record.message]
    assert len(texts) == 1
