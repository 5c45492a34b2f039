"""One app, served by FastAPI and connected as a worker at once, moved from the one to the other."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI

import stepwell
import stepwell.fast_api
from stepwell.cli.api import Api, NotFound
from stepwell.cli.target import resolve
from stepwell.connect import connect
from tests.e2e.serve.listening import under_uvicorn
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from stepwell.function import Function
    from tests.server_process import ServerProcess

KEY = "signkey-test-" + "5e" * 32
EVENT_KEY = "event-key-of-the-tests"
WAIT_S = 40.0
STEPS = 4
RUNS = 24
"""In each part of the move."""

pytestmark = pytest.mark.timeout(120)


class Journal:
    """Which step of which run ran where, as it ran."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.entries: list[tuple[int, int, str]] = []

    def note(self, number: int, step: int, where: str) -> None:
        with self._lock:
            self.entries.append((number, step, where))

    def where(self, numbers: range) -> set[str]:
        """The transports that these runs' steps took."""
        return {where for number, _step, where in self.entries if number in numbers}


class Shop:
    """A server, and both forms of the app `shop`."""

    def __init__(self, server: ServerProcess, directory: Path) -> None:
        self.server = server
        self.journal = Journal()
        self.api = Api(
            resolve(
                url=server.api_url,
                signing_key=KEY,
                event_key=EVENT_KEY,
                environ={},
                cwd=directory,
            )
        )

    def function(self, where: str) -> tuple[stepwell.Client, Function[Any]]:
        """The function as this form of the app has it; both are the same but for what they note."""
        journal = self.journal
        client = stepwell.Client(
            app_id="shop",
            is_production=True,
            api_base_url=self.server.api_url,
            event_api_base_url=self.server.api_url,
            signing_key=KEY,
            event_key=EVENT_KEY,
        )

        @client.create_function(fn_id="order", trigger=stepwell.TriggerEvent(event="go"))
        async def order(ctx: stepwell.Context) -> int:
            number = ctx.event.data["number"]
            assert isinstance(number, int)

            async def work(step: int) -> int:
                await asyncio.sleep(0.02)  # so that runs are under way when the route changes
                journal.note(number, step, where)
                return step

            return sum([await ctx.step.run(f"step-{step}", work, step) for step in range(STEPS)])

        return client, order

    @contextmanager
    def served(self) -> Iterator[None]:
        """The app as a web program, which registers itself."""
        app = FastAPI()
        client, order = self.function("http")
        stepwell.fast_api.serve(app, client, [order], enable_unauthed_sync=True)
        with under_uvicorn(app) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
            connection.request("PUT", "/api/inngest")
            response = connection.getresponse()
            assert response.status == 200, response.read()
            connection.close()
            yield

    @contextmanager
    def connected(self) -> Iterator[None]:
        """The app as a worker, on a loop of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        client, order = self.function("connect")
        worker = connect(apps=[(client, [order])], instance_id="shop-1", shutdown_signals=[])

        async def run() -> None:
            await worker.start()

        async def close() -> None:
            await worker.close(wait=True)

        running = asyncio.run_coroutine_threadsafe(run(), loop)
        try:
            poll(lambda: self.workers() == 1, "the worker", timeout_s=WAIT_S)
            yield
            asyncio.run_coroutine_threadsafe(close(), loop).result(WAIT_S)
            running.result(WAIT_S)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(WAIT_S)
            loop.close()

    def workers(self) -> int:
        """How many workers take calls of the function."""
        try:
            (function,) = self.api.get("/v2/apps/shop/routes")["data"]["functions"]
        except NotFound:  # no form of the app has registered yet
            return 0
        return int(function["workers"])

    def route(self, percent: int | None) -> None:
        self.api.put("/v2/apps/shop/routes", {"connectPercent": percent})

    def send(self, numbers: range) -> None:
        self.api.send([{"name": "go", "data": {"number": number}} for number in numbers])

    def under_way(self, numbers: range) -> None:
        """Wait until some of these runs have begun, and none of all runs is said to be over."""
        poll(lambda: bool(self.journal.where(numbers)), "a step", timeout_s=WAIT_S)

    def statuses(self) -> Counter[str]:
        return Counter(run["status"] for run in self.api.pages("/v2/runs", limit=1_000))

    def all_over(self, runs: int) -> None:
        def over() -> bool:
            statuses = self.statuses()
            return statuses == {"COMPLETED": runs} or bool(statuses["FAILED"])

        poll(over, f"{runs} runs to end", timeout_s=WAIT_S)
        assert self.statuses() == {"COMPLETED": runs}


@pytest.fixture
def shop(start_server: Callable[..., ServerProcess], tmp_path: Path) -> Iterator[Shop]:
    server = start_server(
        "--signing-key", KEY, "--event-key", EVENT_KEY, "--retry-interval", "1", mode="start"
    )
    shop = Shop(server, tmp_path)
    with shop.api:
        yield shop


def test_an_app_is_moved_with_runs_under_way_and_nothing_is_lost(shop: Shop) -> None:
    first, second, third, last = (range(n * RUNS, (n + 1) * RUNS) for n in range(4))
    with shop.connected():
        with shop.served():
            transports = shop.api.get("/v2/apps/shop/routes")["data"]["transports"]
            assert [each["transport"] for each in transports] == ["connect", "http"]
            shop.route(0)
            shop.send(first)
            shop.under_way(first)
            assert shop.journal.where(first) == {"http"}, "the worker is there, and gets nothing"
            shop.route(50)
            shop.send(second)
            shop.under_way(second)
            poll(
                lambda: shop.journal.where(second) == {"http", "connect"},
                "both transports",
                timeout_s=WAIT_S,
            )
            shop.route(100)
            shop.send(third)
            shop.all_over(3 * RUNS)
            assert shop.journal.where(third) == {"connect"}
        shop.api.delete("/v2/apps/shop/transports/http")
        shop.route(None)
        shop.send(last)
        shop.all_over(4 * RUNS)
        assert shop.journal.where(last) == {"connect"}
    ran = Counter((number, step) for number, step, _where in shop.journal.entries)
    assert ran == {(n, step): 1 for n in range(4 * RUNS) for step in range(STEPS)}


def test_while_the_worker_is_away_runs_go_on_over_http(shop: Shop) -> None:
    first, second = range(RUNS), range(RUNS, 2 * RUNS)
    with shop.served():
        with shop.connected():
            shop.send(first)
            shop.under_way(first)
        shop.send(second)
        shop.all_over(2 * RUNS)
    assert shop.journal.where(second) == {"http"}
    assert "connect" in shop.journal.where(first)
