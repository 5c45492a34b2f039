"""A real server and a program that serves functions: what takes both of them."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI

import stepwell
import stepwell.fast_api
from stepwell.cli.api import Api
from stepwell.cli.target import resolve
from tests.e2e.serve.listening import under_uvicorn
from tests.server_process import poll
from tests.unit.serve.served import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stepwell.function import Function
    from tests.server_process import ServerProcess

EVENT_KEY = "event-key-of-the-tests"
WAIT_S = 20.0
OVER = ("COMPLETED", "FAILED", "CANCELLED")
TRIGGER = stepwell.TriggerEvent(event="go")

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def start(start_server: Callable[..., ServerProcess], tmp_path: Path) -> Callable[..., Any]:
    """Serve a function of `shop`, synced by a server in production; gives its API."""

    @contextmanager
    def serve(declare: Callable[[stepwell.Client], Function[Any]], **options: Any) -> Iterator[Api]:
        server = start_server(
            "--signing-key", KEY, "--event-key", EVENT_KEY, "--retry-interval", "1", mode="start"
        )
        shop = stepwell.Client(
            app_id="shop",
            is_production=True,
            api_base_url=server.api_url,
            event_api_base_url=server.api_url,
            signing_key=KEY,
            event_key=EVENT_KEY,
        )
        app = FastAPI()
        stepwell.fast_api.serve(app, shop, [declare(shop)], enable_unauthed_sync=True, **options)
        target = resolve(
            url=server.api_url, signing_key=KEY, event_key=EVENT_KEY, environ={}, cwd=tmp_path
        )
        with under_uvicorn(app) as port, Api(target) as api:
            register(port)
            yield api

    return serve


def register(port: int) -> None:
    """What a deployment does: have the app register."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    connection.request("PUT", "/api/inngest")
    response = connection.getresponse()
    assert response.status == 200, response.read()
    connection.close()


def run_of(api: Api, **data: Any) -> dict[str, Any]:
    """The run that an event starts, when it is over."""
    api.send([{"name": "go", "data": data}])
    return ended(api)


def ended(api: Api) -> dict[str, Any]:
    runs: list[dict[str, Any]] = []

    def over() -> bool:
        runs[:] = api.pages("/v2/runs", [("includeOutput", "true")], limit=10)
        return len(runs) == 1 and runs[0]["status"] in OVER

    poll(over, "the run to end", timeout_s=WAIT_S)
    return runs[0]


@pytest.mark.parametrize("streaming", [False, True])
def test_steps_groups_and_retries(start: Any, streaming: bool) -> None:
    failed: list[str] = []

    def declare(shop: stepwell.Client) -> Function[Any]:
        @shop.create_function(fn_id="all", trigger=TRIGGER)
        async def function(ctx: stepwell.Context) -> Any:
            async def double(n: int) -> int:
                return 2 * n

            async def shaky() -> str:
                if not failed:
                    failed.append("once")
                    raise ValueError("not yet")
                return "at last"

            async def doubled(n: int) -> int:
                return await ctx.step.run(f"double-{n}", double, n)

            pair = await ctx.group.parallel((lambda: doubled(1), lambda: doubled(2)))
            return {"pair": list(pair), "shaky": await ctx.step.run("shaky", shaky)}

        return function

    with start(declare, streaming=streaming) as api:
        run = run_of(api)

    assert (run["status"], run["output"]) == (
        "COMPLETED",
        {"pair": [2, 4], "shaky": "at last"},
    )


def test_state_that_has_become_large_is_fetched(start: Any) -> None:
    def declare(shop: stepwell.Client) -> Function[Any]:
        @shop.create_function(fn_id="large", trigger=TRIGGER)
        def function(ctx: stepwell.ContextSync) -> int:
            texts = [ctx.step.run(f"text-{n}", lambda: "x" * 2**20) for n in range(6)]
            return sum(map(len, texts))

        return function

    with start(declare) as api:
        run = run_of(api)

    assert (run["status"], run["output"]) == ("COMPLETED", {"data": 6 * 2**20})


def test_a_run_that_is_cancelled_cancels_its_function(start: Any) -> None:
    reached, left = threading.Event(), threading.Event()

    def declare(shop: stepwell.Client) -> Function[Any]:
        @shop.create_function(
            fn_id="waits", trigger=TRIGGER, cancel=[stepwell.Cancel(event="stop")]
        )
        async def function(ctx: stepwell.Context) -> None:
            reached.set()
            try:
                await asyncio.Event().wait()
            finally:
                left.set()

        return function

    with start(declare) as api:
        api.send([{"name": "go", "data": {}}])
        assert reached.wait(WAIT_S)
        api.send([{"name": "stop", "data": {}}])
        assert ended(api)["status"] == "CANCELLED"
        assert left.wait(WAIT_S)
