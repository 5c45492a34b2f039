"""Lists of runs and events: pages, filters, orders, expressions, and their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.engine.rows import RunStatus, UpdateRun
from stepwell.server.api.graphql import search
from stepwell.wire.ids import app_uuid, function_uuid
from tests.unit.server.api.bench import Api, open_api
from tests.unit.server.api.graphql.asking import data, error
from tests.unit.server.api.rows import (
    SHOP,
    T0_MS,
    ended,
    event_id,
    put_event,
    put_run,
    run_id,
    running,
    text,
)
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from stepwell.engine.rows import Write

FROM = "2026-09-21T00:00:00Z"
RUNS = """
query Runs(
  $first: Int, $after: String, $from: Time!, $until: Time, $status: [FunctionRunStatus!],
  $timeField: RunsV2OrderByField = QUEUED_AT, $order: [RunsV2OrderBy!]!, $query: String,
  $functionIDs: [UUID!], $appIDs: [UUID!]
) {
  runs(
    first: $first, after: $after, orderBy: $order
    filter: {
      from: $from, until: $until, status: $status, timeField: $timeField, query: $query
      functionIDs: $functionIDs, appIDs: $appIDs
    }
  ) {
    edges { cursor node { id status traceID startedAt queuedAt endedAt } }
    pageInfo { startCursor endCursor hasNextPage hasPreviousPage }
    totalCount
  }
}
"""
EVENTS = """
query Events(
  $first: Int!, $after: String, $from: Time!, $until: Time, $names: [String!], $query: String,
  $internal: Boolean = true
) {
  eventsV2(
    first: $first, after: $after
    filter: {
      from: $from, until: $until, eventNames: $names, query: $query
      includeInternalEvents: $internal
    }
  ) {
    edges { node { id name } }
    pageInfo { endCursor hasNextPage }
    totalCount
  }
}
"""


def over(n: int, *, after_ms: int) -> UpdateRun:
    """Run n began at once and ended so long after the first was queued."""
    return UpdateRun(
        run_id=run_id(n),
        status=RunStatus.FAILED,
        started_at_ms=T0_MS + 1_000 - n,
        ended_at_ms=T0_MS + after_ms,
        output=b'{"message":"m"}',
    )


FEW: list[Write] = [
    *SHOP,
    put_event(),
    *[put_run(n, function_no=1 + n % 2) for n in range(1, 14)],
    ended(1),
    running(2),
    over(3, after_ms=30_000),
    over(4, after_ms=20_000),
    over(5, after_ms=10_000),
]


async def runs(api: Api, **variables: Any) -> tuple[list[int], dict[str, Any]]:
    """The numbers of the runs, and the page with what came."""
    given = {"from": FROM, "first": 40, "order": [order("QUEUED_AT", "DESC")]} | variables
    page = (await data(api, RUNS, **given))["runs"]
    numbers = {text(run_id(n)): n for n in range(1, 500)}
    return [numbers[edge["node"]["id"]] for edge in page["edges"]], page


def order(field: str, direction: str) -> dict[str, str]:
    return {"field": field, "direction": direction}


@on_loop
async def test_runs_are_newest_first_or_oldest_first() -> None:
    async with open_api(FEW) as api:
        found, page = await runs(api)
        assert found == list(range(13, 0, -1))
        assert page["totalCount"] == 13
        assert page["pageInfo"]["hasNextPage"] is page["pageInfo"]["hasPreviousPage"] is False
        assert (await runs(api, order=[order("QUEUED_AT", "ASC")]))[0] == list(range(1, 14))
        assert (await runs(api, order=[]))[0] == list(range(13, 0, -1))


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("field", ["QUEUED_AT", "STARTED_AT", "ENDED_AT"])
@on_loop
async def test_pages_follow_one_another(field: str, direction: str) -> None:
    rows: list[Write] = [*SHOP, put_event(), *[put_run(n) for n in range(1, 14)]]
    rows += [over(n, after_ms=5_000 + 7 * n % 5) for n in range(1, 14)]
    async with open_api(rows) as api:
        wanted = {"order": [order(field, direction)], "timeField": field}
        whole, _page = await runs(api, **wanted)
        assert len(whole) == 13
        paged: list[int] = []
        after = None
        for size, more in ((5, True), (5, True), (3, False)):
            found, page = await runs(api, **wanted, first=5, after=after)
            paged += found
            after = page["pageInfo"]["endCursor"]
            assert after == page["edges"][-1]["cursor"]
            assert (len(found), page["pageInfo"]["hasNextPage"]) == (size, more)
            assert page["totalCount"] == 13
        assert paged == whole


@on_loop
async def test_runs_by_status_function_and_app() -> None:
    async with open_api(FEW) as api:
        assert (await runs(api, status=["FAILED"]))[0] == [5, 4, 3]
        assert (await runs(api, status=["COMPLETED", "RUNNING"]))[0] == [2, 1]
        ship = function_uuid("shop", "shop-ship")
        found, page = await runs(api, functionIDs=[ship], status=["FAILED"])
        assert (found, page["totalCount"]) == ([4], 1)
        assert len((await runs(api, appIDs=[app_uuid("shop")]))[0]) == 13
        assert (await runs(api, appIDs=[app_uuid("other")]))[0] == []


@on_loop
async def test_runs_by_the_times_at_which_they_began_or_ended() -> None:
    async with open_api(FEW) as api:
        by_end = {"timeField": "ENDED_AT", "order": [order("ENDED_AT", "ASC")]}
        found, page = await runs(api, **by_end)
        assert (found, page["totalCount"]) == ([1, 5, 4, 3], 4)
        window = {"from": "2026-09-21T14:13:30Z", "until": "2026-09-21T14:13:50Z"}
        assert (await runs(api, **by_end, **window))[0] == [5, 4]
        by_start = {"timeField": "STARTED_AT", "order": [order("STARTED_AT", "DESC")]}
        assert (await runs(api, **by_start, status=["FAILED"]))[0] == [3, 4, 5]


@on_loop
async def test_runs_by_what_their_event_says() -> None:
    rows: list[Write] = [*SHOP, put_event(), put_run()]
    async with open_api(rows) as api:
        for query, wanted in (
            ("event.data.order == 7", [1]),
            ("event.data.order == 8", []),
            ("event.name == 'shop/order.paid'\n\nevent.data.order > 6", [1]),
            ("event.data.order > 6\nevent.data.order > 7", []),
        ):
            found, page = await runs(api, query=query)
            assert (found, page["totalCount"]) == (wanted, len(wanted))
        variables = {"from": FROM, "first": 1, "order": [], "query": "output.ok"}
        code, message, path = await error(api, RUNS, **variables)
        assert (code, path) == ("expression_invalid", ["runs"])
        assert "output" in message


@on_loop
async def test_too_many_runs_to_search_is_an_error_and_no_part_of_the_truth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "SEARCHED_MAX", 200)
    many: list[Write] = [*SHOP, put_event(), *[put_run(n) for n in range(1, 250)]]
    async with open_api(many) as api:
        by_end = {"timeField": "ENDED_AT", "order": [order("ENDED_AT", "ASC")]}
        code, message, _path = await error(api, RUNS, **{"from": FROM, "first": 9, **by_end})
        assert code == "limit_exceeded"
        assert "more than 200 runs" in message
        assert len((await runs(api, first=9))[0]) == 9


@on_loop
async def test_a_page_has_its_limits() -> None:
    many: list[Write] = [*SHOP, put_event(), *[put_run(n) for n in range(1, 450)]]
    async with open_api(many) as api:
        for first, size in ((1, 1), (399, 399), (400, 40), (100_000, 40)):
            assert len((await runs(api, first=first))[0]) == size
        for given in ({"first": 0}, {"first": -1}, {"after": "nonsense"}, {"after": "e30="}):
            variables = {"from": FROM, "first": 1, "order": []} | given
            assert (await error(api, RUNS, **variables))[0] == "invalid_field_format"
        variables = {"from": "yesterday", "first": 1, "order": []}
        assert "from" in (await error(api, RUNS, **variables))[1]


# --- events ---


def some_events(count: int = 60) -> list[Write]:
    """Every third has another name, and one is internal."""
    rows: list[Write] = [*SHOP]
    for n in range(1, count + 1):
        name = "shop/other" if n % 3 == 0 else "shop/order.paid"
        rows.append(put_event(n, name=name, data=msgspec.json.encode({"n": n})))
    rows.append(put_event(count + 1, name="inngest/function.invoked", data=b"{}"))
    return rows


async def events(api: Api, **variables: Any) -> tuple[list[int], dict[str, Any]]:
    given = {"from": FROM, "first": 40} | variables
    page = (await data(api, EVENTS, **given))["eventsV2"]
    numbers = {text(event_id(n)): n for n in range(1, 500)}
    return [numbers[edge["node"]["id"]] for edge in page["edges"]], page


@on_loop
async def test_events_of_one_name_come_in_pages() -> None:  # server 31
    rows: list[Write] = [put_event(n, name="a/b") for n in range(1, 51)]
    async with open_api([*SHOP, *rows]) as api:
        first, page = await events(api, names=["a/b"])
        assert first == list(range(50, 10, -1))
        assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (50, True)
        cursor = page["pageInfo"]["endCursor"]
        second, page = await events(api, names=["a/b"], after=cursor)
        assert second == list(range(10, 0, -1))
        assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (50, False)
        assert len((await events(api, names=["a/b"], first=500))[0]) == 50


@on_loop
async def test_events_of_several_names_are_one_list() -> None:
    async with open_api(some_events(10)) as api:
        names = ["shop/other", "shop/order.paid", "shop/other"]
        found, page = await events(api, names=names)
        assert (found, page["totalCount"]) == (list(range(10, 0, -1)), 10)
        assert (await events(api, names=["shop/other"]))[0] == [9, 6, 3]
        found, page = await events(api, names=["a", "b"])
        assert (found, page["totalCount"], page["pageInfo"]["endCursor"]) == ([], 0, None)


@on_loop
async def test_internal_events_are_there_if_they_are_asked_for() -> None:
    async with open_api(some_events(3)) as api:
        found, page = await events(api, internal=True)
        assert (found, page["totalCount"]) == ([4, 3, 2, 1], 4)
        found, page = await events(api, internal=False)
        assert (found, page["totalCount"]) == ([3, 2, 1], 3)
        early = {"from": "2026-01-01T00:00:00Z", "until": FROM}
        assert (await events(api, **early))[0] == []


@on_loop
async def test_events_by_what_they_say() -> None:
    async with open_api(some_events()) as api:
        query = "event.data.n > 50\nevent.name == 'shop/order.paid'"
        found, page = await events(api, query=query, first=3)
        assert (found, page["totalCount"]) == ([59, 58, 56], 6)
        cursor = page["pageInfo"]["endCursor"]
        found, page = await events(api, query=query, first=9, after=cursor)
        assert (found, page["totalCount"]) == ([55, 53, 52], 6)
        assert page["pageInfo"]["hasNextPage"] is False
        variables = {"from": FROM, "first": 1, "query": "event.data.n =="}
        assert (await error(api, EVENTS, **variables))[0] == "expression_invalid"


@on_loop
async def test_too_many_events_to_search_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SEARCHED_MAX", 40)
    async with open_api(some_events()) as api:
        variables = {"from": FROM, "first": 1, "query": "event.data.n == 1"}
        code, message, _path = await error(api, EVENTS, **variables)
        assert (code, "more than 40 events" in message) == ("limit_exceeded", True)
