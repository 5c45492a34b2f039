"""HTTP 23: an answer that is streamed, with its envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.running_app import Options
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h23",
    behaviour="a 201 with an envelope counts as what the envelope says",
    over="serve",
    cannot={
        "python-flask": "it does not stream there",
        "python-django": "it does not stream there",
        "stepwell-flask": "it does not stream there",
        "stepwell-django": "it does not stream there",
    },
)


def test_streamed(start_app: Callable[[Options], RunningApp]) -> None:
    app = start_app(Options(path="/api/streamed"))
    event_id = app.send("one-step")
    never = app.send("never")

    assert app.api.completed(event_id) == {"a": 7, "attempt": 0}
    assert "never" in app.api.failed(never)["message"]

    first, second = app.calls(event_id)
    assert (first.answer.status, second.answer.status) == (201, 201)
    assert first.answer.body["status"] == 206
    if app.language.name != "go":  # its envelope has no headers: a retry cannot be forbidden
        assert len(app.calls(never)) == 1
