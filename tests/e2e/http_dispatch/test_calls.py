"""From an event to a run's end, with an app that is called over HTTP. Numbers: http-sdk's."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.wire.signing import verify
from tests.e2e.api.served import Served, serve
from tests.e2e.http_dispatch.raw_app import (
    STEP_ID,
    Link,
    RawApp,
    Request,
    always,
    app,
    one_after_the_other,
    register,
    registration,
    response,
    step_op,
)
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "signkey-prod-0123456789abcdef0123456789abcdef"
OLD_KEY = "signkey-prod-ffffffffffffffffffffffffffffffff"
DONE = response(200, b'"done"')


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


async def waiting(served: Served, event_id: str, reason: str) -> dict[str, Any]:
    """The run of an event once it waits for this."""
    async with asyncio.timeout(5):
        while True:
            for run in (await served.get(f"/v2/events/{event_id}/runs"))["data"]:
                if run.get("waiting", {}).get("reason") == reason:
                    found: dict[str, Any] = run
                    return found
            await asyncio.sleep(0.005)


@on_loop
async def test_a_call_carries_what_the_sdk_needs() -> None:  # 15, 16, 17
    handler = one_after_the_other(response(206, step_op(), X_Inngest_Req_Version="2"), DONE)
    async with serve() as served, app(handler, served) as shop:
        event_id = await served.send_event(id="order-7")
        run = await served.ended(event_id)
        assert (run["status"], run["output"]) == ("Completed", "done")
        first, second = shop.requests
        assert first.method == "POST"
        assert first.query == {"fnId": "shop-ship", "stepId": "step"}
        assert first.headers["x-run-id"] == run["run_id"] == first.json["ctx"]["run_id"]
        assert first.headers["x-request-id"] == first.json["ctx"]["request_id"]
        assert first.headers["x-inngest-step-id"] == "step"
        assert first.headers["x-inngest-req-version"] == "-1"
        assert "x-inngest-signature" not in first.headers
        assert (first.json["version"], first.json["use_api"]) == (-1, False)
        assert (first.json["steps"], first.json["ctx"]["stack"]["stack"]) == ({}, [])
        assert first.json["event"]["id"] == "order-7"
        assert first.json["ctx"]["max_attempts"] == 5
        assert second.headers["x-inngest-req-version"] == "2"
        assert second.json["steps"] == {STEP_ID: {"data": {"n": 1}}}
        assert second.json["ctx"]["attempt"] == 0
        assert second.headers["x-request-id"] != first.headers["x-request-id"]


@on_loop
async def test_a_targeted_call_names_its_step() -> None:  # 30
    planned = [{"op": "StepPlanned", "id": name * 40, "displayName": name} for name in "bc"]

    async def answer(request: Request, link: Link) -> None:
        target = request.query["stepId"]
        if target != "step":
            await link.write(response(206, step_op(id=target)))
        elif request.json["steps"]:
            await link.write(DONE)
        else:
            body = json.dumps(planned).encode()
            await link.write(response(206, body, X_Inngest_Req_Version="2"))

    async with serve() as served, app(answer, served) as shop:
        run = await served.ended(await served.send_event())
        assert run["status"] == "Completed"
        targets = [request.query["stepId"] for request in shop.requests]
        assert sorted(targets) == ["b" * 40, "c" * 40, "step", "step"]


@on_loop
async def test_a_call_is_signed_and_what_was_signed_is_sent() -> None:  # 1, 2
    settings = {"mode": "start", "signing_key": KEY, "event_keys": ("key",), "host": "127.0.0.1"}
    async with serve(**settings) as served, RawApp(always(DONE)) as shop:
        headers = {"Authorization": f"Bearer {KEY}"}
        body = msgspec.json.encode(registration(shop.url))
        assert (await served.request("POST", "/fn/register", body, **headers))[0] == 200
        data = b'{"name":"shop/order.paid","data":{"\xc3\xa9":1.0,"big":12345678901234567890}}'
        assert (await served.request("POST", "/e/key", data))[0] == 200
        await until(lambda: bool(shop.requests))
        (request,) = shop.requests
        signature = request.headers["x-inngest-signature"]
        now_s = int(signature.removeprefix("t=").partition("&")[0])
        assert verify(request.body, signature, keys=[KEY], now_s=now_s) == KEY
        assert '"data":{"big":12345678901234567000,"é":1}'.encode() in request.body


@on_loop
async def test_an_app_with_the_old_key_is_called_with_it() -> None:
    settings = {
        "mode": "start", "signing_key": KEY, "signing_key_fallback": OLD_KEY,
        "event_keys": ("key",), "host": "127.0.0.1",
    }  # fmt: skip

    async def answer(request: Request, link: Link) -> None:
        signature = request.headers["x-inngest-signature"]
        now_s = int(signature.removeprefix("t=").partition("&")[0])
        try:
            verify(request.body, signature, keys=[OLD_KEY], now_s=now_s)
        except Exception:
            refusal = b'{"message":"Unauthorized"}'
            await link.write(response(401, refusal, sdk=None, X_Inngest_SDK_Handled="true"))
        else:
            await link.write(DONE)

    async with serve(**settings) as served, RawApp(answer) as shop:
        headers = {"Authorization": f"Bearer {KEY}"}
        body = msgspec.json.encode(registration(shop.url))
        assert (await served.request("POST", "/fn/register", body, **headers))[0] == 200
        event = b'{"name":"shop/order.paid","data":{}}'
        for calls in (2, 3):  # the second run knows which key it takes
            assert (await served.request("POST", "/e/key", event))[0] == 200
            await until(lambda calls=calls: len(shop.requests) == calls)  # type: ignore[misc]


RETRIED = {
    "a page": (response(404, b"<h1>no</h1>", sdk=None), "Server returned a fatal error"),
    "no sdk": (response(200, b"1", sdk=None), "not_sdk"),
    "an error": (response(500, b'{"name":"Oops","message":"no"}'), "Oops"),
    "400 without no-retry": (response(400, b'{"name":"Oops","message":"no"}'), "Oops"),
    "an empty 206": (response(206), "ops_invalid"),
    "a 206 of html": (response(206, b"<html>"), "ops_invalid"),
    "a huge answer": (response(200, b'"' + b"a" * (8 * 2**20) + b'"'), "output_too_large"),
    "an unfinished stream": (response(201, b"     "), "stream_invalid"),
    "a redirect to metadata": (
        response(307, Location="http://169.254.169.254/"),
        "http_unreachable",
    ),
}


@pytest.mark.parametrize("name", RETRIED)
@on_loop
async def test_a_bad_answer_is_a_failed_attempt(name: str) -> None:  # 18, 20, 22, 24
    raw, error_name = RETRIED[name]
    handler = one_after_the_other(raw, DONE)
    async with serve(retry_interval_ms=10) as served, app(handler, served) as shop:
        event_id = await served.send_event()
        run = await served.ended(event_id)
        assert (run["status"], run["output"]) == ("Completed", "done")
        assert [request.json["ctx"]["attempt"] for request in shop.requests] == [0, 1]
        trace = await served.get(f"/v2/runs/{run['run_id']}/trace?includeOutput=true")
        assert error_name in json.dumps(trace)


@on_loop
async def test_a_reset_in_the_middle_is_a_failed_attempt() -> None:
    async def answer(_request: Request, link: Link) -> None:
        if len(shop.requests) == 1:
            await link.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
            link.reset()
        else:
            await link.write(DONE)

    async with serve(retry_interval_ms=10) as served, app(answer, served) as shop:
        run = await served.ended(await served.send_event())
        assert run["status"] == "Completed"
        assert [request.json["ctx"]["attempt"] for request in shop.requests] == [0, 1]


@on_loop
async def test_no_retry_ends_the_run() -> None:  # 24
    raw = response(400, b'{"name":"Bad","message":"no"}', X_Inngest_No_Retry="true")
    async with serve(retry_interval_ms=10) as served, app(always(raw), served) as shop:
        run = await served.ended(await served.send_event())
        assert (run["status"], len(shop.requests)) == ("Failed", 1)
        assert run["output"]["message"] == "no"


@on_loop
async def test_a_slow_answer_may_stream() -> None:  # 23
    async def answer(_request: Request, link: Link) -> None:
        head = f"HTTP/1.1 201 OK\r\nX-Inngest-SDK: {1}\r\nTransfer-Encoding: chunked\r\n\r\n"
        await link.write(head.encode())
        for _ in range(3):
            await link.write(b"1\r\n \r\n")
            await asyncio.sleep(0.01)
        envelope = json.dumps({"status": 200, "body": '"streamed"', "headers": {}}).encode()
        await link.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(envelope), envelope))

    async with serve() as served, app(answer, served):
        run = await served.ended(await served.send_event())
        assert (run["status"], run["output"]) == ("Completed", "streamed")


@on_loop
async def test_an_app_that_takes_too_long_is_given_up() -> None:
    async def answer(_request: Request, link: Link) -> None:
        if len(shop.requests) == 1:
            await asyncio.Event().wait()
        await link.write(DONE)

    settings = {"retry_interval_ms": 10, "http_timeout_ms": 300}
    async with serve(**settings) as served, app(answer, served) as shop:
        run = await served.ended(await served.send_event())
        assert run["status"] == "Completed"
        assert [request.json["ctx"]["attempt"] for request in shop.requests] == [0, 1]
        assert shop.hung_up.is_set()


@on_loop
async def test_an_app_that_is_away_is_told_of_and_found_again() -> None:
    async with serve(retry_interval_ms=200) as served:
        shop = RawApp(always(DONE))
        await shop.listen()
        await register(served, shop.url)
        await shop.stop()
        event_id = await served.send_event()
        run = await waiting(served, event_id, "retry")
        assert "connection refused" in run["waiting"]["text"]
        listed = (await served.get("/v2/apps/shop"))["data"]
        assert listed["error"]["code"] == "unreachable"
        assert "connection refused" in listed["error"]["text"]
        await shop.listen()
        try:
            assert (await served.ended(event_id))["status"] == "Completed"
            assert "error" not in (await served.get("/v2/apps/shop"))["data"]
        finally:
            await shop.stop()


@on_loop
async def test_calls_to_one_host_are_bounded() -> None:
    busy: list[int] = []
    at_once = 0
    go_on = asyncio.Event()

    async def answer(_request: Request, link: Link) -> None:
        nonlocal at_once
        at_once += 1
        busy.append(at_once)
        await go_on.wait()
        at_once -= 1
        await link.write(DONE)

    async with serve(http_calls_max=2) as served, app(answer, served) as shop:
        await register(served, f"{shop.url}/other", app="other")
        events = [await served.send_event() for _ in range(3)]
        events += [await served.send_event("other/order.paid") for _ in range(3)]
        await until(lambda: len(busy) == 2)
        run = await waiting(served, events[-1], "no_capacity")
        assert run["status"] == "QUEUED"
        go_on.set()
        for event_id in events:
            assert (await served.ended(event_id))["status"] == "Completed"
        assert max(busy) == 2


@on_loop
async def test_leases_are_extended_while_an_app_works() -> None:
    async def answer(_request: Request, link: Link) -> None:
        await asyncio.sleep(1.0)  # several leases
        await link.write(DONE)

    settings = {"connect_lease_ms": 300, "connect_reconnect_grace_ms": 100}
    async with serve(**settings) as served, app(answer, served) as shop:
        run = await served.ended(await served.send_event())
        assert (run["status"], len(shop.requests)) == ("Completed", 1)


@on_loop
async def test_a_stopping_server_waits_for_answers() -> None:
    go_on = asyncio.Event()

    async def answer(_request: Request, link: Link) -> None:
        await go_on.wait()
        await link.write(response(206, step_op(), X_Inngest_Req_Version="2"))

    async with serve() as served, app(answer, served) as shop:
        event_id = await served.send_event()
        await until(lambda: bool(shop.requests))
        stopping = asyncio.ensure_future(served.server.stop())
        assert (await served.request("GET", "/ready"))[0] == 503
        assert not stopping.done()
        go_on.set()
        await stopping
        (run,) = await served.runs_of(event_id)
        trace = await served.get(f"/v2/runs/{run['run_id']}/trace")
        assert "charge" in json.dumps(trace)  # the step is stored
        assert len(shop.requests) == 1  # and no new call is given out


@on_loop
async def test_a_stopping_server_does_not_wait_for_ever() -> None:
    async def answer(_request: Request, _link: Link) -> None:
        await asyncio.Event().wait()

    async with RawApp(answer) as shop:
        async with serve(connect_drain_wait_ms=100) as served:
            await register(served, shop.url)
            await served.send_event()
            await until(lambda: bool(shop.requests))
            await served.server.stop()
        await asyncio.wait_for(shop.hung_up.wait(), 5)


@on_loop
async def test_a_run_that_has_begun_ends_though_its_function_is_gone() -> None:
    handler = one_after_the_other(response(500, b'{"message":"later"}', Retry_After="1"), DONE)
    async with serve() as served, app(handler, served) as shop:
        event_id = await served.send_event()
        await waiting(served, event_id, "retry")
        await register(served, shop.url, functions=[])
        assert (await served.ended(event_id))["status"] == "Completed"


@on_loop
async def test_large_state_is_left_to_the_api() -> None:  # 27
    big = "x" * (3 * 2**20)
    fetched: dict[str, Any] = {}

    async def answer(request: Request, link: Link) -> None:
        done = len(request.json["ctx"]["stack"]["stack"])
        if done < 2:
            op = step_op(id=f"{done}" * 40, data=big)
            await link.write(response(206, op, X_Inngest_Req_Version="2"))
            return
        fetched.update(await served.get(f"/v0/runs/{request.json['ctx']['run_id']}/actions"))
        await link.write(DONE)

    async with serve() as served, app(answer, served) as shop:
        run = await served.ended(await served.send_event())
        assert run["status"] == "Completed"
        last = shop.requests[-1].json
        assert (last["use_api"], last["ctx"]["use_api"], last["steps"]) == (True, True, {})
        assert [len(each["data"]) for each in fetched.values()] == [len(big)] * 2
