"""Flow 41: what an invoked function can come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f41",
    behaviour="invoke: null, a failure with name and message, a timeout by name",
)


def test_invoke_results(app: RunningApp) -> None:
    null = app.send("invoke", {"function": "child-null", "data": {}})
    fails = app.send("invoke", {"function": "child-fails", "data": {}})
    slow = app.send("invoke", {"function": "child-slow", "data": {}, "ms": 1_000})

    assert app.api.completed(null) == {"result": None}
    assert "child broke" in app.api.completed(fails)["error"]
    failure = app.calls(fails)[-1].body["steps"][step_hash("i")]["error"]
    assert "child broke" in failure["message"]
    assert failure["name"]
    app.api.completed(slow)
    timeout = app.calls(slow)[-1].body["steps"][step_hash("i")]["error"]
    assert timeout["name"] == "InngestInvokeTimeoutError"
