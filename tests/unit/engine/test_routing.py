"""Which way a call goes: over Connect or over HTTP, and to which version of its app."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from stepwell.engine.effects import Dispatch, RouteTaken
from stepwell.engine.inputs import AppRemoved, AppSynced, RouteChosen
from stepwell.engine.leases import HTTP_INSTANCES
from stepwell.engine.routing import goes_over_connect
from stepwell.engine.rows import DeleteRoute, PutLive, PutRoute
from stepwell.wire.ids import RunId, ulid_bytes
from tests.unit.engine.scenario import Scenario, op, ops, ran, returned
from tests.unit.engine.test_transports import served

if TYPE_CHECKING:
    from stepwell.engine.waiting import Waiting

HOST = f"{HTTP_INSTANCES}shop:3000"
HTTP = f"{HOST}/shop"
PIN_WAIT_MS = 600_000


def scenario(**config: int) -> Scenario:
    """An app with functions `ship` and `bill`; nobody is there."""
    s = Scenario(**config)
    s.sync({"fn": "ship"}, {"fn": "bill", "triggers": [{"event": "bill/due"}]})
    return s


def both(**config: int) -> Scenario:
    """A worker and an app over HTTP."""
    s = scenario(**config)
    s.attach("c1")
    s.attach(HTTP, instance=HOST)
    return s


def choose(
    s: Scenario, percent: int | None = None, *, slug: str = "", pin: bool = False
) -> RouteTaken:
    route = PutRoute(app_name="shop", slug=slug, connect_percent=percent, pin=pin)
    s.step(RouteChosen(ticket=s.ticket(), route=route))
    (taken,) = s.replies(RouteTaken)
    return taken


def ways(s: Scenario) -> list[str]:
    return ["http" if call.connection_id == HTTP else "connect" for call in s.calls]


def waiting(s: Scenario) -> Waiting | None:
    row = s.rows(PutLive)[-1]
    return s.partition.waiting(row.function_no, row.state)


def reason(s: Scenario) -> str | None:
    found = waiting(s)
    return None if found is None else found.reason


# --- without a route ---


def test_a_call_goes_over_connect_when_a_worker_is_ready() -> None:
    s = both()
    for _ in range(3):
        s.send()
    assert ways(s) == ["connect"] * 3


def test_a_call_goes_over_http_while_no_worker_is_there() -> None:
    s = scenario()
    s.attach(HTTP, instance=HOST)
    s.send()
    s.attach("c1")
    s.reply(ran("a"))
    assert ways(s) == ["http", "connect"]


def test_a_call_goes_over_http_while_every_worker_is_full() -> None:
    s = scenario()
    s.attach("c1", limit=1)
    s.attach(HTTP, instance=HOST)
    s.send()
    s.send()
    assert ways(s) == ["connect", "http"]


# --- all or nothing ---


def test_a_route_counts_from_the_next_call_on() -> None:
    s = both()
    s.send()
    assert choose(s, 0).modified
    s.reply(ran("a"))
    assert ways(s) == ["connect", "http"]
    assert not choose(s, 0).modified


def test_what_is_kept_to_http_waits_for_a_url_though_workers_are_there() -> None:
    s = scenario()
    s.attach("c1")
    choose(s, 0)
    s.send()
    assert s.calls == []
    assert reason(s) == "no_url"
    s.attach(HTTP, instance=HOST)
    assert ways(s) == ["http"]


def test_what_is_kept_to_connect_waits_for_a_worker_though_the_app_is_there() -> None:
    s = scenario()
    s.attach(HTTP, instance=HOST)
    choose(s, 100)
    s.send()
    assert s.calls == []
    found = waiting(s)
    assert found is not None
    assert (found.reason, found.until_ms) == ("no_worker", None)
    assert "Connect alone" in found.text
    s.attach("c1")
    assert ways(s) == ["connect"]


def test_what_is_kept_to_one_way_waits_for_room_there() -> None:
    s = both()
    s.attach("c1", limit=1)
    choose(s, 100)
    s.send()
    s.send()
    assert ways(s) == ["connect"]
    assert reason(s) == "no_capacity"
    s.reply(returned())
    assert ways(s) == ["connect"] * 2


def test_a_route_that_is_taken_back_lets_what_waits_go() -> None:
    s = scenario()
    s.attach("c1")
    choose(s, 0)
    s.send()
    choose(s, None)
    assert ways(s) == ["connect"]
    assert s.rows(DeleteRoute) == [DeleteRoute(app_name="shop", slug="")]


# --- a share ---


def test_a_larger_share_holds_the_smaller_one() -> None:
    runs = [RunId(ulid_bytes(1, number.to_bytes(10, "big"))) for number in range(2_000)]
    shares = [
        {run for run in runs if goes_over_connect(run, percent)} for percent in range(0, 101, 10)
    ]
    for smaller, larger in pairwise(shares):
        assert smaller < larger
    assert [shares[0], shares[-1]] == [set(), set(runs)]
    assert all(abs(len(share) - 200 * n) < 100 for n, share in enumerate(shares))


def test_runs_are_shared_out_and_each_keeps_its_way() -> None:
    s = both()
    choose(s, 40)
    for _ in range(50):
        s.send()
    first = {call.run_id: call.connection_id for call in s.calls}
    assert set(ways(s)) == {"connect", "http"}
    for call in list(s.calls):
        s.reply(ran("a"), call)
    assert len(s.calls) == 100
    assert all(first[call.run_id] == call.connection_id for call in s.calls)


def test_a_run_whose_way_is_gone_goes_the_other_one() -> None:
    s = both()
    choose(s, 40)
    for _ in range(20):
        s.send()
    s.detach(HTTP)  # nobody has acknowledged a call: all of its calls go elsewhere
    now = {call.run_id: call.connection_id for call in s.calls}
    assert set(now.values()) == {"c1"}
    assert len(now) == 20


# --- whose route ---


def test_a_functions_own_number_counts_before_its_apps() -> None:
    s = both()
    choose(s, 0)
    choose(s, 100, slug="shop-bill")
    s.send("order/paid")
    s.send("bill/due")
    assert ways(s) == ["http", "connect"]
    choose(s, None, slug="shop-bill")
    s.send("bill/due")
    assert ways(s)[-1] == "http"


def test_a_route_holds_for_functions_that_come_later() -> None:
    s = both()
    choose(s, 0)
    s.sync({"fn": "ship"}, {"fn": "pack", "triggers": [{"event": "pack"}]})
    s.attach("c1")
    s.attach(HTTP, instance=HOST)
    s.send("pack")
    assert ways(s) == ["http"]


def test_routes_survive_a_restart() -> None:
    s = both()
    choose(s, 0, slug="shop-ship")
    choose(s, None, pin=True)
    s.restart()
    s.attach("c1")
    s.attach(HTTP, instance=HOST)
    s.send("order/paid")
    s.send("bill/due")
    assert ways(s) == ["http", "connect"]
    assert s.partition.routes.of_name("shop", "shop-bill").pin


def test_a_registration_over_http_that_is_forgotten_leaves_the_workers() -> None:
    s = Scenario()
    step = AppSynced(ticket=1, registration=served("ship"), sync_id="1")
    s.step(step)
    s.step(AppRemoved(ticket=2, app_name="shop", method="serve"))
    assert s.partition.catalog.apps == {}
    s.step(step)
    assert [entry.http_url for entry in s.partition.catalog.functions] != [None]


# --- pinned to a version ---


def pinned(**config: int) -> Scenario:
    """A run that began on v1, between two calls of which the first is out."""
    s = scenario(pin_wait_ms=PIN_WAIT_MS, **config)
    choose(s, None, pin=True)
    s.attach("old", version="v1", version_ms=1)
    s.send()
    s.attach("new", version="v2", version_ms=2)
    return s


def test_a_pinned_run_stays_with_its_version() -> None:
    s = pinned()
    for name in "abcdef":
        s.reply(ran(name))
    assert {call.connection_id for call in s.calls} == {"old"}


def test_a_run_that_is_not_pinned_goes_to_the_newer_version() -> None:
    s = scenario()
    s.attach("old", version="v1", version_ms=1)
    s.send()
    s.attach("new", version="v2", version_ms=2)
    for name in "abcdef":
        s.reply(ran(name))
    assert "new" in {call.connection_id for call in s.calls}


def test_a_pinned_run_waits_for_its_version_and_says_so() -> None:
    s = pinned()
    first = s.call
    s.partition.ack(first.request_id)
    s.detach("old")
    s.reply(ran("a"), first)
    assert len(s.calls) == 1
    found = waiting(s)
    assert found is not None
    assert (found.reason, found.until_ms) == ("no_version", s.now_ms + PIN_WAIT_MS)
    assert "v1" in found.text
    s.pass_ms(PIN_WAIT_MS - 1)
    assert len(s.calls) == 1
    s.pass_ms(1)
    assert s.call.connection_id == "new"


def test_a_version_that_comes_back_in_time_has_its_runs_again() -> None:
    s = pinned()
    s.partition.ack(s.call.request_id)
    s.detach("old")
    s.reply(ran("a"))
    s.pass_ms(PIN_WAIT_MS // 2)
    s.attach("again", version="v1", version_ms=1)
    assert s.call.connection_id == "again"
    s.partition.ack(s.call.request_id)
    s.detach("again")
    s.reply(ran("b"))
    s.pass_ms(PIN_WAIT_MS - 1)
    assert len(s.calls) == 2, "the time begins anew"


def test_after_that_time_its_runs_wait_no_more_between_steps() -> None:
    s = pinned()
    s.partition.ack(s.call.request_id)
    s.detach("old")
    s.reply(ran("a"))
    s.pass_ms(PIN_WAIT_MS)
    s.reply(ran("b"))
    assert [call.connection_id for call in s.calls] == ["old", "new", "new"]


def test_a_pinned_run_that_waits_holds_up_nobody() -> None:
    s = pinned()
    s.partition.ack(s.call.request_id)
    s.detach("old")
    s.reply(ran("a"))
    s.send()
    assert s.call.connection_id == "new"
    assert s.call.run_id != s.calls[0].run_id


def test_a_pinned_run_waits_for_room_at_its_version() -> None:
    s = scenario()
    choose(s, None, pin=True)
    s.attach("old", version="v1", version_ms=1, limit=1)
    s.send()
    first = s.call
    s.attach("new", version="v2", version_ms=2)
    s.reply(ops(op("StepPlanned", "a"), op("StepPlanned", "b")), first)
    assert [call.connection_id for call in s.calls] == ["old", "old"]
    assert reason(s) is None, "one of its calls is out"
    s.reply(ops(op("StepRun", "a", data=None)))
    assert [call.connection_id for call in s.calls] == ["old"] * 3


def test_without_the_route_a_pin_means_nothing() -> None:
    s = pinned()
    s.partition.ack(s.call.request_id)
    s.detach("old")
    s.reply(ran("a"))
    choose(s, None)
    assert s.call.connection_id == "new"


def test_runs_that_began_over_http_are_pinned_to_nothing() -> None:
    s = scenario()
    choose(s, None, pin=True)
    s.attach(HTTP, instance=HOST)
    s.send()
    s.attach("new", version="v2", version_ms=2)
    s.reply(ran("a"))
    assert ways(s) == ["http", "connect"]


def test_a_pinned_run_does_not_go_over_http_meanwhile() -> None:
    s = pinned()
    s.partition.ack(s.call.request_id)
    s.attach(HTTP, instance=HOST)
    s.detach("old")
    s.detach("new")
    s.reply(ran("a"))
    assert len(s.calls) == 1
    assert reason(s) == "no_version"
    s.pass_ms(PIN_WAIT_MS)
    assert ways(s)[-1] == "http"


def test_a_pin_survives_a_restart_and_its_time_begins_anew() -> None:
    s = pinned()
    s.partition.ack(s.call.request_id)
    s.detach("old")
    s.reply(ran("a"))
    s.pass_ms(PIN_WAIT_MS - 1)
    s.restart()
    s.attach("new", version="v2", version_ms=2)
    s.pass_ms(PIN_WAIT_MS - 1)
    assert len(s.calls) == 1
    s.pass_ms(1)
    assert s.call.connection_id == "new"


def test_a_clock_that_is_set_forward_shortens_no_wait_for_a_version() -> None:
    s = pinned()
    s.partition.ack(s.call.request_id)
    s.detach("old")
    s.reply(ran("a"))
    s.now_ms += PIN_WAIT_MS
    s.partition.clock_jumped(PIN_WAIT_MS)
    s.step()
    assert len(s.calls) == 1
    s.pass_ms(PIN_WAIT_MS)
    assert s.call.connection_id == "new"


@pytest.mark.parametrize("window", [1, 2, 5])
def test_pinned_runs_beyond_the_window_are_all_given_out(window: int) -> None:
    s = pinned(queue_window=window)
    for _ in range(20):
        s.send()
    calls: list[Dispatch] = [call for call in s.calls if call.connection_id == "old"]
    assert calls
    for call in s.calls:
        s.partition.ack(call.request_id)
    s.detach("old")
    for call in list(s.calls):
        s.reply(ran("a"), call)
    s.pass_ms(PIN_WAIT_MS)
    while s.partition.wanted_queues():
        s.step()
    again = [call for call in s.calls if call.stack]
    assert len({call.run_id for call in again}) == 21
