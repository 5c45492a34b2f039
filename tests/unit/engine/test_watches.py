"""Where in an event the value must stand that may concern a run."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.engine.rows import DeleteWatch, PutWatch, WatchKind
from stepwell.engine.watches import ANYWHERE, Watches, place_of
from stepwell.expressions import compile_expression
from stepwell.wire.ids import RunId


def watch(path: str = "", *, kind: WatchKind = WatchKind.EVENT) -> PutWatch:
    return PutWatch(
        kind=kind, subject="a", path=path, value=b"", watch_id=b"w", run_id=RunId(b"r" * 16)
    )


def unwatch(path: str = "", *, kind: WatchKind = WatchKind.EVENT) -> DeleteWatch:
    return DeleteWatch(kind=kind, subject="a", path=path, value=b"", watch_id=b"w")


def test_a_name_is_watched_for_as_long_as_one_watch_is_there() -> None:
    watches = Watches()
    for row in (watch(), watch('["data","n"]'), watch('["data","n"]')):
        watches.note(row)
    for gone in (unwatch('["data","n"]'), unwatch()):
        watches.note(gone)
        assert watches.has("a")
    watches.note(unwatch('["data","n"]'))
    assert not watches.has("a")
    assert not watches.has("b")


def test_signals_are_not_counted() -> None:
    watches = Watches()
    watches.note(watch(kind=WatchKind.SIGNAL))
    assert not watches.has("a")
    watches.note(unwatch(kind=WatchKind.SIGNAL))


def test_a_watch_that_is_not_there_cannot_end() -> None:
    with pytest.raises(AssertionError):
        Watches().note(unwatch())


@pytest.mark.parametrize(
    ("condition", "event"),
    [
        ("async.data.id == 'x'", {"data": {"id": "x"}}),
        ("async.data.n == 7", {"data": {"n": 7}}),
        ("async.data.n == 7", {"data": {"n": 7.0}}),
        ("'x' == async.data.id && async.data.n > 3", {"data": {"id": "x"}}),
        ("async.data.to.town == 'Turku'", {"data": {"to": {"town": "Turku"}}}),
        ("async.user.id == true", {"data": {}, "user": {"id": True}}),
        ("async.data.n > 3", {"data": {}}),
        ("async.data.id == 'x' || async.data.n == 1", {"data": {"n": 1}}),
    ],
)
def test_an_event_looks_where_the_watch_of_its_condition_stands(
    condition: str, event: dict[str, Any]
) -> None:
    place = place_of(compile_expression(condition))
    watches = Watches()
    watches.load([("a", place[0], 1, b"")])
    assert watches.places("a", event) == [place]


@pytest.mark.parametrize("event", [{"data": {}}, {"data": {"id": None}}, {"data": {"id": ["x"]}}])
def test_an_event_without_a_value_there_looks_nowhere(event: dict[str, Any]) -> None:
    watches = Watches()
    watches.load([("a", place_of(compile_expression("async.data.id == 'x'"))[0], 1, b"")])
    assert watches.places("a", event) == []


def test_no_condition_is_anywhere() -> None:
    assert place_of(None) == ANYWHERE
