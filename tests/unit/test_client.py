"""The client: what it takes, and sending from every kind of program."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest

import stepwell
from stepwell.client import Client
from stepwell.errors import ConfigError, SendEventsError, StepwellError
from stepwell.event import Event
from tests.unit.event_server import EventServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[EventServer]:
    with EventServer() as running:
        yield running


@pytest.fixture
def client(server: EventServer) -> Client:
    return Client(app_id="shop", is_production=False, event_api_base_url=server.url)


EVENT = Event(name="a", data={"n": 1})


def test_send_gives_the_ids(client: Client, server: EventServer) -> None:
    assert asyncio.run(client.send([EVENT, EVENT])) == ["id-1-0", "id-1-1"]
    assert client.send_sync(EVENT) == ["id-2-0"]

    assert server.posts[1].events == [{"name": "a", "data": {"n": 1}}]
    assert server.posts[1].path == "/e/NO_EVENT_KEY_SET"


def test_each_loop_of_a_program_can_send(client: Client, server: EventServer) -> None:
    for _ in range(3):
        asyncio.run(client.send(EVENT))

    assert len(server.posts) == 3


def test_send_sync_works_inside_a_running_loop(client: Client) -> None:
    async def story() -> list[str]:
        return client.send_sync(EVENT)

    assert asyncio.run(story()) == ["id-1-0"]


def test_many_threads_share_one_background_loop(client: Client, server: EventServer) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: client.send_sync(EVENT), range(40)))

    assert len({event_id for [event_id] in ids}) == len(server.posts) == 40
    assert [thread.name for thread in threading.enumerate()].count("stepwell-http") == 1


def test_nothing_to_send_sends_nothing(client: Client, server: EventServer) -> None:
    assert client.send_sync([]) == []
    assert asyncio.run(client.send([])) == []
    assert server.posts == []


def test_data_without_json_form_is_refused_before_anything_is_sent(
    client: Client, server: EventServer
) -> None:
    with pytest.raises(StepwellError, match="cannot be written as JSON"):
        client.send_sync(Event(name="a", data={"x": object()}))

    assert server.posts == []


@pytest.mark.parametrize("given", [{"name": "a"}, [{"name": "a"}], "a", ["a"], None, [EVENT, None]])
def test_only_events_can_be_sent(client: Client, server: EventServer, given: Any) -> None:
    with pytest.raises(ConfigError, match="only an Event can be sent"):
        client.send_sync(given)
    with pytest.raises(ConfigError, match="only an Event can be sent"):
        asyncio.run(client.send(given))

    assert server.posts == []


def test_number_of_attempts_can_be_chosen(server: EventServer) -> None:
    server.answers = [(500, "", {})] * 9
    client = Client(
        app_id="shop", is_production=False, event_api_base_url=server.url, send_attempts=2
    )

    with pytest.raises(SendEventsError):
        client.send_sync(EVENT)

    assert len(server.posts) == 2


@pytest.mark.parametrize("attempts", [0, "3"])
def test_number_of_attempts_is_checked(attempts: Any) -> None:
    with pytest.raises(ConfigError, match="send_attempts"):
        Client(app_id="shop", is_production=False, send_attempts=attempts)


def test_refusal_reaches_the_caller(client: Client, server: EventServer) -> None:
    server.answers = [(400, {"ids": [""], "error": "event name is empty", "status": 400}, {})] * 2

    with pytest.raises(SendEventsError, match="event name is empty"):
        client.send_sync(Event(name=""))
    with pytest.raises(SendEventsError, match="event name is empty"):
        asyncio.run(client.send(Event(name="")))


def test_event_key_is_written_safely_into_the_path(server: EventServer) -> None:
    client = Client(
        app_id="shop", is_production=True, event_key="k/ü", event_api_base_url=server.url
    )

    client.send_sync(EVENT)

    assert server.posts[0].path == "/e/k%2F%C3%BC"


def test_cancelled_send_ends(server: EventServer, client: Client) -> None:
    server.answers = [(429, "", {"Retry-After": "30"})]

    async def story() -> None:
        async with asyncio.timeout(5):
            task = asyncio.create_task(client.send(EVENT))
            await asyncio.to_thread(server.came.wait)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

    asyncio.run(story())


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_sends_on_a_loop_of_its_own(client: Client, server: EventServer) -> None:
    client.send_sync(EVENT)

    child = os.fork()
    if child == 0:
        status = 1
        try:
            names = [thread.name for thread in threading.enumerate()]
            if "stepwell-http" not in names and client.send_sync(EVENT) == ["id-2-0"]:
                status = 0
        finally:
            os._exit(status)
    _, wait_status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(wait_status) == 0
    assert client.send_sync(EVENT) == ["id-3-0"]
    assert server.posts[0].seed != server.posts[1].seed


def test_production_needs_an_event_key_to_send() -> None:
    client = Client(app_id="shop", is_production=True, event_api_base_url="http://127.0.0.1:1")

    with pytest.raises(ConfigError, match="STEPWELL_EVENT_KEY") as caught:
        client.send_sync(EVENT)

    assert caught.value.code == "event_key_unspecified"


def test_sending_needs_a_server() -> None:
    client = Client(
        app_id="shop", is_production=True, event_key="k", api_base_url="http://127.0.0.1:1"
    )

    with pytest.raises(ConfigError) as caught:
        client.send_sync(EVENT)

    assert caught.value.code == "base_url_missing"


def test_client_needs_a_name() -> None:
    for app_id in ("", cast("str", 1)):
        with pytest.raises(ConfigError, match="app_id"):
            Client(app_id=app_id)


def test_logger_is_the_program_s_or_ours() -> None:
    own = logging.getLogger("own")

    assert Client(app_id="a", is_production=False, logger=own).logger is own
    assert Client(app_id="a", is_production=False).logger.name == "stepwell.function"


def test_inngest_is_the_client() -> None:
    assert stepwell.Inngest is stepwell.Client is Client


def test_client_knows_the_functions_that_were_declared_with_it() -> None:
    client = stepwell.Client(app_id="shop", is_production=False)
    assert not client.functions

    @client.function("ship", event="order/paid")
    async def ship(_ctx: stepwell.Context) -> None: ...

    @client.create_function(fn_id="bill", trigger=stepwell.TriggerEvent(event="order/paid"))
    def bill(_ctx: stepwell.ContextSync) -> None: ...

    assert list(client.functions) == [ship, bill]
