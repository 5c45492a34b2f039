"""Bugs planted on purpose: the simulation notices each of them, by the invariant that should.

Eight are hunted here, of different kinds; `make soak SUITE=sim` hunts them all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.sim.planted import Bug, changed_files, hunt, read_bugs, simulate_over

if TYPE_CHECKING:
    from pathlib import Path

BUGS = {bug.name: bug for bug in read_bugs()}
HUNTED = (
    "a-step-is-lost",
    "the-last-one-queued-goes-first",
    "a-fence-is-used-again",
    "a-slot-is-free-after-a-restart",
    "effects-leave-before-the-commit",
    "a-wait-hears-what-came-before-it",
    "a-parent-is-not-told",
    "a-signal-finds-nobody",
)


@pytest.mark.parametrize("bug", BUGS.values(), ids=lambda bug: bug.name)
def test_a_planted_bug_fits_the_source(bug: Bug) -> None:
    assert changed_files(bug)


def test_planted_bugs_are_many_and_different() -> None:
    assert len(BUGS) >= 60
    assert len({bug.broken for bug in BUGS.values()}) == len(BUGS)
    assert len({bug.invariant for bug in BUGS.values()}) >= 18


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", HUNTED)
def test_a_planted_bug_is_caught(name: str, tmp_path: Path) -> None:
    (bug,) = (bug for full, bug in BUGS.items() if full.partition("-")[2] == name)
    verdict = hunt(bug, tmp_path)
    assert verdict.caught, f"{bug.broken} Not seen: {verdict.said}"
    replay = re.search(r"^replay: python -m tests\.sim (.+)$", verdict.said, re.MULTILINE)
    assert replay is not None, "the simulation says how to see it again"
    again = simulate_over(tmp_path / "src", *replay[1].split())
    tail = verdict.said[verdict.said.index("seed ") :]
    assert again.stdout.endswith(tail), "the command that was printed shows the same"
