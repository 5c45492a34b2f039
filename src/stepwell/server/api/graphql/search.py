"""Lists of runs and events: filters, order, cursors.

What the store can list by its indexes it lists. Other orders and expressions over events are
searched for: so many rows are looked at, and if there are more the answer is an error and not a
part of the truth.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

import msgspec

from stepwell.errors import LimitExceeded, WireError
from stepwell.expressions import Policy, compile_expression
from stepwell.server.api import queries
from stepwell.server.api.graphql.events import EventV2
from stepwell.server.api.graphql.reading import COUNT_MAX, paced
from stepwell.server.api.graphql.runs import FunctionRunV2
from stepwell.server.api.timeline import RUN_STATUS
from stepwell.wire.ids import EventId, RunId, app_uuid, parse_ulid, ulid_ms, ulid_text
from stepwell.wire.json import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from stepwell.expressions import Expression
    from stepwell.server.api.graphql.reading import Reading
    from stepwell.store.interface import EventRecord, RunRecord

RUNS_DEFAULT: Final = 40
RUNS_MAX: Final = 399
"""From 400 on a page has the default size, as clients expect."""

EVENTS_MAX: Final = 51
SEARCHED_MAX: Final = 2_000
RUN_ROWS: Final = 100
EVENT_ROWS: Final = 20
"""What a search reads at a time; an event may be large."""

_STATUSES = {text: status for status, text in RUN_STATUS.items()}
_T = TypeVar("_T")


class AnyEdge(Protocol):
    """A row of a list with a cursor, whatever that is made of."""

    cursor: str


class Edge(Generic[_T]):
    """A row of a list, with the cursor that goes on behind it."""

    def __init__(self, node: _T, row_id: bytes) -> None:
        self.node = node
        self.cursor = _cursor(row_id)


class Connection(Generic[_T]):
    """A page of a list."""

    def __init__(
        self,
        edges: Sequence[AnyEdge],
        *,
        has_next: bool,
        has_previous: bool,
        count: Callable[[], int],
    ) -> None:
        self.edges: Sequence[AnyEdge] | AsyncIterator[AnyEdge] = paced(edges)
        self._count = count
        self.page_info = {
            "has_next_page": has_next,
            "has_previous_page": has_previous,
            "start_cursor": edges[0].cursor if edges else None,
            "end_cursor": edges[-1].cursor if edges else None,
        }

    def total_count(self, *, preview: bool | None = None) -> int:
        return self._count()


# --- runs ---


async def find_runs(
    reading: Reading,
    *,
    first: int,
    after: str | None,
    order_by: Sequence[Mapping[str, str]],
    filter: Mapping[str, Any],
) -> Connection[FunctionRunV2]:
    """A page of runs.

    Raises:
        WireError: A filter cannot be read.
        LimitExceeded: Too many rows to search.
    """
    size = _page_size(first, most=RUNS_MAX, beyond=RUNS_DEFAULT)
    field = filter.get("timeField") or "QUEUED_AT"
    order = order_by[0] if order_by else {"field": "QUEUED_AT", "direction": "DESC"}
    conditions = _conditions(filter.get("query"))
    wanted: dict[str, Any] = {
        "statuses": [_STATUSES[text] for text in filter.get("status") or ()],
        "function_nos": _function_nos(reading, filter),
    }
    from_ms = queries.instant_ms(filter, "from")
    until_ms = queries.instant_ms(filter, "until")
    at = _place(after)
    if field == order["field"] == "QUEUED_AT" and not conditions:
        newest_first = order["direction"] == "DESC"
        wanted |= {"queued_from_ms": from_ms, "queued_until_ms": until_ms}
        side = "before" if newest_first else "after"
        bound: dict[str, Any] = {} if at is None else {side: RunId(at)}
        rows = reading.runs(**wanted, **bound, newest_first=newest_first, limit=size + 1)

        def count() -> int:
            reading.charge_count()
            return reading.context.reader.count_runs(**wanted, most=COUNT_MAX)

        return _run_page(reading, rows[:size], len(rows) > size, at, count)

    def fits(run: RunRecord) -> bool:
        time_ms = _time_ms(run, field)
        if time_ms is None or (from_ms is not None and time_ms < from_ms):
            return False
        if until_ms is not None and time_ms >= until_ms:
            return False
        return not conditions or _all_hold(reading, conditions, reading.trigger(run))

    # A run begins and ends after it is queued; what was queued before the window may end in it.
    wanted["queued_until_ms"] = until_ms
    if field == "QUEUED_AT":
        wanted["queued_from_ms"] = from_ms
    found = [run for run in await _all_runs(reading, wanted) if fits(run)]
    descending = order["direction"] == "DESC"

    def place(run: RunRecord) -> tuple[int, bytes]:
        return (_time_ms(run, order["field"]) or 0, run.run_id)

    found.sort(key=place, reverse=descending)
    total, rest = len(found), found
    if at is not None:
        last = reading.run(RunId(at))
        if last is None:
            raise WireError(f"Invalid cursor: {after}", code="invalid_field_format")
        rest = [run for run in found if (place(run) < place(last)) == descending]
        rest = [run for run in rest if run.run_id != last.run_id]
    return _run_page(reading, rest[:size], len(rest) > size, at, lambda: total)


async def _all_runs(reading: Reading, wanted: Mapping[str, Any]) -> list[RunRecord]:
    found: list[RunRecord] = []
    while True:
        before = found[-1].run_id if found else None
        rows = reading.runs(**wanted, before=before, limit=RUN_ROWS)
        found += rows
        if len(rows) < RUN_ROWS:
            return found
        if len(found) >= SEARCHED_MAX:
            raise _too_many("runs")
        await asyncio.sleep(0)


def _run_page(
    reading: Reading,
    rows: Sequence[RunRecord],
    has_next: bool,
    at: bytes | None,
    count: Callable[[], int],
) -> Connection[FunctionRunV2]:
    edges = [Edge(FunctionRunV2(reading, run), run.run_id) for run in rows]
    return Connection(edges, has_next=has_next, has_previous=at is not None, count=count)


def _time_ms(run: RunRecord, field: str) -> int | None:
    match field:
        case "STARTED_AT":
            return run.started_at_ms
        case "ENDED_AT":
            return run.ended_at_ms
        case _:
            return ulid_ms(run.run_id)


def _function_nos(reading: Reading, filter: Mapping[str, Any]) -> list[int] | None:
    functions, apps = filter.get("functionIDs"), filter.get("appIDs")
    if not functions and not apps:
        return None
    return [
        entry.no
        for entry in reading.context.runtime.catalog.all_functions
        if (not functions or entry.function_id in functions)
        and (not apps or app_uuid(entry.app_name) in apps)
    ]


# --- events ---


async def find_events(
    reading: Reading, *, first: int, after: str | None, filter: Mapping[str, Any]
) -> Connection[EventV2]:
    """A page of events, newest first. Raises like `find_runs`."""
    size = _page_size(first, most=EVENTS_MAX, beyond=EVENTS_MAX)
    conditions = _conditions(filter.get("query"))
    names = filter.get("eventNames") or [None]
    wanted: dict[str, Any] = {
        "received_after_ms": queries.instant_ms(filter, "from"),
        "received_before_ms": queries.instant_ms(filter, "until"),
        "include_internal": bool(filter.get("includeInternalEvents")),
    }
    at = _place(after)
    if not conditions:
        before = None if at is None else EventId(at)
        rows = _newest(reading, names, wanted, before, size + 1)

        def count() -> int:
            total = 0
            for name in dict.fromkeys(names):
                reading.charge_count()
                total += reading.context.reader.count_events(**wanted, name=name, most=COUNT_MAX)
            return min(total, COUNT_MAX)

        return _event_page(reading, rows[:size], len(rows) > size, at, count)
    found = [
        event
        for event in await _all_events(reading, names, wanted)
        if _all_hold(reading, conditions, event)
    ]
    rest = [event for event in found if at is None or event.event_id < at]
    total = len(found)
    return _event_page(reading, rest[:size], len(rest) > size, at, lambda: total)


def _newest(
    reading: Reading,
    names: Sequence[str | None],
    wanted: Mapping[str, Any],
    before: EventId | None,
    limit: int,
) -> list[EventRecord]:
    found: list[EventRecord] = []
    for name in dict.fromkeys(names):
        found += reading.events(**wanted, name=name, before=before, limit=limit)
    found.sort(key=lambda event: event.event_id, reverse=True)
    return found[:limit]


async def _all_events(
    reading: Reading, names: Sequence[str | None], wanted: Mapping[str, Any]
) -> list[EventRecord]:
    found: list[EventRecord] = []
    while True:
        before = found[-1].event_id if found else None
        rows = _newest(reading, names, wanted, before, EVENT_ROWS)
        found += rows
        if len(rows) < EVENT_ROWS:
            return found
        if len(found) >= SEARCHED_MAX:
            raise _too_many("events")
        await asyncio.sleep(0)


def _event_page(
    reading: Reading,
    rows: Sequence[EventRecord],
    has_next: bool,
    at: bytes | None,
    count: Callable[[], int],
) -> Connection[EventV2]:
    edges = [Edge(EventV2(reading, event), event.event_id) for event in rows]
    return Connection(edges, has_next=has_next, has_previous=at is not None, count=count)


# --- both ---


def _conditions(text: str | None) -> list[Expression]:
    """The expressions of a `query`, one a line."""
    lines = (line.strip() for line in (text or "").splitlines())
    return [compile_expression(line, policy=Policy.RESTRICTED) for line in lines if line]


def _all_hold(reading: Reading, conditions: Sequence[Expression], event: EventRecord) -> bool:
    body = {"event": decode(reading.body(event))}
    now_ms = reading.context.runtime.now_ms()
    return all(condition.matches(body, now_ms=now_ms) for condition in conditions)


def _page_size(first: int, *, most: int, beyond: int) -> int:
    if first < 1:
        raise WireError(f"first must be at least 1, not {first}", code="invalid_field_format")
    return first if first <= most else beyond


class _Cursor(msgspec.Struct):
    id: str = msgspec.field(name="ID")


_CURSOR = msgspec.json.Decoder(_Cursor)


def _cursor(row_id: bytes) -> str:
    return base64.b64encode(msgspec.json.encode(_Cursor(id=ulid_text(row_id)))).decode()


def _place(cursor: str | None) -> bytes | None:
    if not cursor:
        return None
    try:
        return parse_ulid(_CURSOR.decode(base64.b64decode(cursor, validate=True)).id)
    except (binascii.Error, ValueError, msgspec.DecodeError, WireError) as error:
        raise WireError(f"Invalid cursor: {cursor}", code="invalid_field_format") from error


def _too_many(what: str) -> LimitExceeded:
    return LimitExceeded(
        f"there are more than {SEARCHED_MAX} {what} to search",
        hint="narrow the filter by time, function, status or name",
    )
