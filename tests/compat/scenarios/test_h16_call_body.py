"""HTTP 16: what every call's body has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(number="h16", behaviour="use_api, whole integers and event.user in every call")


def test_call_body(app: RunningApp) -> None:
    sent = {"value": {"whole": 5, "large": 2**53, "part": 0.5, "none": None, "word": "žluť 🚀"}}
    event_id = app.send("echo", sent, user={"id": 3})
    bare = app.send("one-step")

    assert app.api.completed(event_id) == sent["value"]
    app.api.completed(bare)

    for call in (*app.calls(event_id), *app.calls(bare)):
        assert call.body["use_api"] is False
        assert call.context["use_api"] is False
        assert isinstance(call.context["attempt"], int)
        assert isinstance(call.context["max_attempts"], int)
        assert isinstance(call.body["version"], int)
        event = call.body["event"]
        assert isinstance(event["ts"], int)
        assert call.body["events"] == [event]
    assert next(call.body["event"]["user"] for call in app.calls(event_id)) == {"id": 3}
    assert next(call.body["event"]["user"] for call in app.calls(bare)) == {}
    numbers: Any = app.calls(event_id)[0].body["event"]["data"]["value"]
    assert isinstance(numbers["whole"], int)
    assert isinstance(numbers["large"], int)
