"""HTTP 36: invoking another function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h36",
    behaviour="invoke: result, failure that is caught, unknown function, timeout",
)


def test_invoke(app: RunningApp) -> None:
    good = app.send("invoke", {"function": "child-ok", "data": {"n": 4}})
    fails = app.send("invoke", {"function": "child-fails", "data": {}})
    unknown = app.send("invoke", {"function": "nobody", "data": {}})
    slow = app.send("invoke", {"function": "child-slow", "data": {}, "ms": 1_000})

    assert app.api.completed(good) == {"result": {"got": 4}}
    assert app.calls(good)[-1].body["steps"] == {step_hash("i"): {"data": {"got": 4}}}
    assert "child broke" in app.api.completed(fails)["error"]
    message = "could not find function with ID: scenarios-nobody"
    assert app.api.completed(unknown)["error"] == message
    assert "Timed out" in app.api.completed(slow)["error"]
    memo = app.calls(slow)[-1].body["steps"][step_hash("i")]
    assert memo["error"]["name"] == "InngestInvokeTimeoutError"
