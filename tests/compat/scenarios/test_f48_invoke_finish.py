"""Flow 48: a parent that runs out of time while its child works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.recording import Call
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="f48",
    behaviour="timeouts.finish cancels the parent of an invoked run; the child goes on",
)


def test_invoke_finish(app: RunningApp) -> None:
    event_id = app.send("invoke-finish")

    (run,) = app.api.ended(event_id, timeout_s=20)

    assert run["status"] == "Cancelled"

    def is_child(call: Call) -> bool:
        found: bool = run["run_id"] in str(call.body["event"]["data"].get("_inngest"))
        return found and call.reply is not None and call.reply.status == 200

    def ends(call: Call) -> bool:
        return is_child(call) or (
            call.reply is not None
            and run["run_id"] in str(call.body["event"])
            and "RunComplete" in call.reply.op_names()
        )

    child = app.recording.first("child-slow", ends)
    assert child.answer.at_s > 0
