"""HTTP 30: two steps in parallel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import UNTARGETED, step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h30", behaviour="two parallel steps: planned, called each, one discovery after"
)


def test_parallel(app: RunningApp) -> None:
    event_id = app.send("parallel")

    assert app.api.completed(event_id) == ["l", "r"]

    discovery, *later = app.calls(event_id)
    assert discovery.answer.op_names() == ["StepPlanned", "StepPlanned"]
    assert not discovery.context["disable_immediate_execution"]
    targeted = [call for call in later if call.step != UNTARGETED]
    assert {call.step for call in targeted} == {step_hash("left"), step_hash("right")}
    assert len(targeted) == 2
    assert all(call.context["disable_immediate_execution"] for call in targeted)
    assert [call.answer.op_names() for call in targeted] == [["StepRun"], ["StepRun"]]
    after = [call for call in later if call.step == UNTARGETED]
    if discovery.answer.version == 1:  # not optimised: a discovery after each, plan-only for good
        assert len(after) in (1, 2)  # one for two that end at the same moment
        assert all(call.context["disable_immediate_execution"] for call in after)
    else:
        (last,) = after
        assert last.at_s > max(call.answer.at_s for call in targeted)
        assert not last.context["disable_immediate_execution"]
