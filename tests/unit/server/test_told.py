"""What is remembered of events that concerned runs which waited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.inputs import EventMatched
from stepwell.engine.rows import HistoryKind, StepKind
from stepwell.server.told import EVENTS_MAX, Told, ToldBook
from tests.unit.server.api.rows import event_id, history, run_id, step

if TYPE_CHECKING:
    from stepwell.engine.rows import Write
    from stepwell.wire.ids import EventId, RunId


def matched(event: EventId, name: str, *runs: RunId) -> EventMatched:
    value = {"name": name, "data": {}, "id": event.hex()}
    return EventMatched(
        errand_id=event,
        event_id=event,
        event=value,
        event_json=msgspec.json.encode(value),
        found=tuple((b"watch", run) for run in runs),
        more=False,
    )


def went_on(n: int, item: EventMatched) -> Write:
    return step(n=n, kind=StepKind.EVENT, data=item.event_json)


def cancelled(n: int, **told: str) -> Write:
    return history(0, HistoryKind.CANCELLED, n=n, payload=msgspec.json.encode(told))


def test_runs_that_went_on_and_runs_that_were_cancelled() -> None:
    book = ToldBook()
    yes = matched(event_id(1), "yes", *(run_id(n) for n in (1, 2, 3, 4)))
    other = matched(event_id(2), "other", run_id(1), run_id(3))
    book.begin([yes, other])
    book.committed(
        [
            went_on(1, yes),
            cancelled(2, event="yes", reason="an event"),
            cancelled(3, event="other", reason="an event"),
            cancelled(4, reason="a request"),
        ]
    )
    assert book.of(event_id(1)) == Told(continued=(run_id(1),), cancelled=(run_id(2),))
    assert book.of(event_id(2)) == Told(cancelled=(run_id(3),))
    assert book.of(event_id(3)) == Told()


def test_an_event_that_concerns_many_runs_is_added_up() -> None:
    book = ToldBook()
    item = matched(event_id(1), "yes", run_id(1), run_id(2))
    for n in (1, 2):
        book.begin([item])
        assert book.of(event_id(1)).is_pending
        book.committed([went_on(n, item)])
    assert book.of(event_id(1)) == Told(continued=(run_id(1), run_id(2)))


def test_what_was_not_committed_did_not_happen() -> None:
    book = ToldBook()
    item = matched(event_id(1), "yes", run_id(1))
    book.begin([item])
    book.failed()
    book.committed([went_on(1, item)])
    assert book.of(event_id(1)) == Told()


def test_the_oldest_events_are_forgotten() -> None:
    book = ToldBook()
    for n in range(EVENTS_MAX + 1):
        item = matched(event_id(n), "yes", run_id(1))
        book.begin([item])
        book.committed([went_on(1, item)])
    assert book.of(event_id(0)) == Told()
    assert book.of(event_id(1)).continued
    assert book.of(event_id(EVENTS_MAX)).continued
