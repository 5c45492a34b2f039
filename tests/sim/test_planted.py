"""Bugs planted on purpose: a simulation that would not notice them proves nothing.

Each is one line of the engine written differently; the text that it replaces must still be there.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.engine.partition import Partition
from stepwell.engine.queue.backlog import Backlog
from stepwell.engine.report import Report
from stepwell.engine.state import Run
from stepwell.engine.turn import Turn
from tests.sim.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = 300
"""In so many a planted bug must show."""

BUGS: dict[str, tuple[Callable[..., Any], str, str, str]] = {
    "a queue passes over runs on disk": (
        Backlog.trim,
        "queue.last = min(queue.last, last)",
        "queue.last = last",
        "5:",
    ),
    "a loaded queue is taken for complete": (
        Backlog.loaded,
        "if more:",
        "if False:",
        "5:",
    ),
    "a slot is not given back": (
        Turn.release,
        "self.owner.workers.free(job.instance_id)",
        "pass",
        "6:",
    ),
    "a lease outlives its call": (
        Turn.release,
        "self.owner.leases.end(job.request_id)",
        "pass",
        "a leased job has its fence",
    ),
    "a step is stored again": (
        Report.complete_step,
        "if op.id in run.steps:",
        "if False:",
        "2: a step is committed once",
    ),
    "a position is left out": (
        Turn.put_step,
        "position = len(run.steps)",
        "position = len(run.steps) + 1",
        "2:",
    ),
    "a failed step is tried by two calls": (
        Report._retry,
        "turn.remove_job(run, other)",
        "pass",
        "7:",
    ),
    "a function is not called again": (
        Turn.carry_on,
        "if state.jobs or state.sleeps:",
        "if True:",
        "a live run has a job or a wait",
    ),
    "a run that was cut off from its call is not written": (
        Turn.requeue,
        "self.change(run)",
        "pass",
        "4:|5: calls are in memory",
    ),
    "a sleep is not a reason to be alive": (
        Run.live_row,
        "for sleep in state.sleeps:",
        "for sleep in ():",
        "a live run has a job or a wait",
    ),
    "a slot is free after a restart": (
        Partition.load,
        "self.workers.take(job.instance_id)",
        "pass",
        "6: slots in use|a slot is freed once",
    ),
    "a repeated request starts runs again": (
        Partition._received,
        "if arrived.known:",
        "if False:",
        "11:",
    ),
    "a producer's id is not looked up": (
        Turn.receive_event,
        "if key in self._started or started(*key):",
        "if False:",
        "11:",
    ),
    "a failure is told twice": (
        Turn.end_run,
        "if status is RunStatus.FAILED:",
        "if True:",
        "13:",
    ),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, text, instead, message = BUGS[name]
    plant(function, text, instead, monkeypatch)
    seen = first_failure()
    assert re.search(message, seen), f"it was noticed by chance: {seen}"


def first_failure() -> str:
    for seed in range(SEEDS):
        try:
            simulate(seed)
        except AssertionError as error:
            return str(error)
    raise AssertionError(f"{SEEDS} seeds did not notice it")


def plant(
    function: Callable[..., Any], text: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replace a method by itself with one place written differently."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(text) == 1, f"{text!r} is no longer in {function.__qualname__}"
    module = sys.modules[function.__module__]
    made: dict[str, Any] = {}
    planted = f"from __future__ import annotations\n{source.replace(text, instead)}"
    exec(compile(planted, f"<planted in {function.__qualname__}>", "exec"), vars(module), made)
    owner, method = function.__qualname__.split(".")
    monkeypatch.setattr(getattr(module, owner), method, made[method])
