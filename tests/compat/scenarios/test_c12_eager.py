"""Checkpointing 12: steps that are stored one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="c12",
    behaviour="three steps, three checkpoints, each before the next step begins; then the end",
    cannot={"python": "it does not checkpoint"},
)


def test_eager(app: RunningApp) -> None:
    event_id = app.send("eager")

    begun_ms = app.api.completed(event_id)

    (call,) = app.calls(event_id)
    if app.language.official:
        ended = ["RunComplete"] if app.language.name != "go" else []
        assert call.answer.op_names() == ended
    if app.language.official or app.transport != "connect":  # ours sends them over the socket
        reports = app.reports(event_id)
        assert [(report.steps, report.status) for report in reports] == [
            (["a"], 200),
            (["b"], 200),
            (["c"], 200),
        ]
        for report, next_ms in zip(reports, begun_ms[1:], strict=False):
            stored_ms = int(report.answered_s * 1_000)
            assert stored_ms <= next_ms, "it began before the last one was stored"
