"""Bugs planted on purpose: a simulation that would not notice them proves nothing.

Each is one line of the product written differently; the text that it replaces must still be there.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.connect.calls import Calls
from stepwell.connect.worker import Worker
from stepwell.engine.effects import Reply
from stepwell.engine.partition import Partition
from stepwell.engine.report import Report
from stepwell.server.gateway.connection import Connection
from stepwell.server.gateway.session import Session
from stepwell.server.turns import Turns
from tests.process_sim.faults import FAULTS_MAX
from tests.process_sim.simulate import simulate

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.engine.effects import Transition

SEEDS = 100

BUGS: dict[str, tuple[Callable[..., Any], str, str, str]] = {
    "a lost connection goes on getting calls": (
        Connection._leave,
        "self._runtime.gone(self._id)",
        "pass",
        "7: calls go to workers that are there|6: every run ends in time",
    ),
    "a silent worker is never given up": (
        Session.next_wakeup_ms,
        "silence_ms = self._heard_ms + self._config.silence_ms",
        "silence_ms = 2**61",
        "7: the workers are|6: every run ends in time",
    ),
    "a worker that drains keeps the calls that it has not acknowledged": (
        Partition._detach,
        "not lease.acked",
        "False",
        "10: no call is lost",
    ),
    "an answer leaves before its commit": (
        Turns._commit,
        "self._worked = True",
        "self._worked = True\n    self._tell_too_early(transition)",
        "3: ",
    ),
    "a report that was cut off is not sent again": (
        Worker._adopt,
        "self._checkpoints.waiting()",
        "[]",
        "CallTimeout|6: every run ends in time",
    ),
    "an attempt of a step that failed beside others does not count": (
        Report._retry_apart,
        "job.attempt = self._job.attempt",
        "job.attempt = self._job.attempt - 1",
        "10: |6: every run ends in time",
    ),
    "a worker does not extend its leases": (
        Calls.due_extensions,
        "if not running.lost:",
        "if False:",
        "10: ",
    ),
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, text, instead, message = BUGS[name]
    monkeypatch.setattr(Turns, "_tell_too_early", _tell_too_early, raising=False)
    _plant(function, text, instead, monkeypatch)
    seen = _first_failure()
    assert re.search(message, seen), f"it was noticed by chance: {seen}"


def _tell_too_early(turns: Turns, transition: Transition) -> None:
    for effect in transition.effects:
        if isinstance(effect, Reply):
            turns.answer(effect.ticket, effect.result, None)


def _first_failure() -> str:
    for seed in range(SEEDS):
        try:
            simulate(seed, faults=FAULTS_MAX)
        except AssertionError as error:
            return str(error)
    raise AssertionError(f"{SEEDS} seeds did not notice it")


def _plant(
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
