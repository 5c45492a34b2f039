"""What must hold in a simulation of the whole process, numbered; a failure names its number.

At every commit:

1. A run begins once and ends once, and nothing of it changes after its end.
2. A step is committed once.

As API clients see it:

3. What was acknowledged is there at once: the event, and one run of its function.
4. A run that was seen at its end stays as it was seen.

At the end:

5. Every run came to what its program comes to, or failed because its workers were lost too often.
6. It did so in time: nothing was stranded, or waited for anything but its sleeps, its retries,
   and what the last fault held up.
7. Nothing is left: no live row, no call; all workers that run are ready, and no others are known.
8. Whoever was told to stop has ended in time.
9. No process logged an internal error, and none ended with one.
10. Where nothing loses calls, none is lost, and no body runs more often than its failures ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.engine.rows import PutRun, PutStep, RunStatus, UpdateRun
from tests.process_sim.programs import result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stepwell.engine.rows import Write
    from stepwell.wire.ids import RunId
    from tests.process_sim.programs import Program

GAVE_UP = "connect_worker_stopped_responding"


class Committed:
    """All commits, checked as they come (1, 2)."""

    def __init__(self) -> None:
        self.statuses: dict[RunId, RunStatus] = {}
        self._steps: set[tuple[RunId, str]] = set()

    def take(self, writes: Iterable[Write]) -> None:
        for row in writes:
            match row:
                case PutRun():
                    assert row.run_id not in self.statuses, "1: a run begins once"
                    self.statuses[row.run_id] = row.status
                case UpdateRun():
                    assert not self.statuses[row.run_id].is_over, "1: a run ends once"
                    self.statuses[row.run_id] = row.status
                case PutStep():
                    key = (row.run_id, row.step_id)
                    assert key not in self._steps, "2: a step is committed once"
                    self._steps.add(key)


def check_result(program: Program, run: dict[str, Any], losses: int) -> str:
    """5; returns how the run ended.

    Args:
        run: As the API shows it.
        losses: How many of its calls were lost.
    """
    status, output = run["status"], run.get("output")
    if status == "Completed":
        assert not program.raises, f"5: {program.name} raises, yet it completed"
        expected = result(program)
        assert output == expected, f"5: {program.name} came to {output}, not {expected}"
        return "run completed"
    assert status == "Failed", f"5: a run completes or fails, this one is {status}"
    assert isinstance(output, dict), f"5: a failure has an error, not {output}"
    if output["name"] == GAVE_UP:
        assert losses >= 3, f"5: the run was given up after {losses} losses"
        return "run given up"
    assert program.raises, f"5: nothing in {program.name} fails, yet it failed with {output}"
    return "run failed"
