"""Generated programs under generated faults, and every place where a server can die."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.sim.coverage import missing, summary
from tests.sim.generated import NEWS
from tests.sim.planted import ROOT
from tests.sim.programs import Ask, Do, Hear, Heed, Hire, Nap, Program, Stumble, Together
from tests.sim.simulate import simulate
from tests.sim.world import COMMIT_FAULTS

SEEDS = 500

_SAME = "async.data.number == event.data.number"
STORY_SEED = 3
"""One by which the story's event comes when it is waited for."""

STORY = (
    Program(
        nodes=(
            Do(name="one"),
            Stumble(attempts=1),
            Together(
                branches=(
                    (Do(name="left"), Do(name="left again", failures=1)),
                    (Nap(name="nap", ms=1_500),),
                    (Do(name="right", failures=3),),
                ),
                race=False,
            ),
            Nap(name="long nap", ms=700_000),
            Do(name="last"),
        ),
        retries=2,
    ),
    Program(nodes=(Do(name="doomed"),), retries=0, raises=True),
    Program(
        nodes=(
            Together(
                branches=(
                    (Hear(name="news", event=NEWS, condition=_SAME, ms=60_000),),
                    (Heed(name="signal", signal="go", ms=60_000, replaces=False),),
                    (Hire(name="hire", slug="sim-p1", ms=60_000),),
                ),
                race=False,
            ),
            Ask(name="ask", failures=1),
            Do(name="defers", defers=True),
            Do(name="end"),
        ),
        retries=1,
        eager=3,
        checkpoints=True,
        cancels=True,
        start_ms=600_000,
        finish_ms=86_400_000,
    ),
)
"""One of everything, for a crash at each of its commits."""


@pytest.mark.timeout(240)
def test_every_run_comes_to_its_end_whatever_happens() -> None:
    total: Counter[str] = Counter()
    for seed in range(SEEDS):
        total.update(simulate(seed).count)
    print(summary(total))
    assert not missing(total), f"never happened in {SEEDS} seeds: {missing(total)}"


def test_the_story_has_one_of_everything() -> None:
    count = simulate(STORY_SEED, faults=0, disk="fast disk", programs=STORY).count
    parts = (
        "checkpoint taken",
        "deferred function started",
        "handler started",
        "history ATTEMPT_FAILED",
        "invoked run FAILED",
        "started by more than ids",
        "step INFER",
        "step SLEEP",
        "wait ended by a signal",
        "wait ended by an event",
    )
    assert [part for part in parts if not count[part]] == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("disk", ["fast disk", "slow disk"])
@pytest.mark.parametrize("how", [how for how in COMMIT_FAULTS if how != "crash amid effects"])
def test_a_crash_at_any_commit_changes_nothing_in_the_end(how: str, disk: str) -> None:
    effects = _effects(disk)
    for at in range(len(effects)):
        world = simulate(STORY_SEED, faults=0, crash_at=(at, how), disk=disk, programs=STORY)
        assert world.count[how] == 1, f"there was no {how} at commit {at}"
        assert not world.count["run failed: connect_worker_stopped_responding"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("disk", ["fast disk", "slow disk"])
def test_a_crash_between_any_two_effects_changes_nothing_in_the_end(disk: str) -> None:
    effects = _effects(disk)
    assert max(effects) > 1, "no commit has several effects"
    crashes: Counter[str] = Counter()
    for at, count in enumerate(effects):
        for left in range(1, count + 1):
            world = simulate(
                STORY_SEED,
                faults=0,
                crash_at=(at, "crash amid effects"),
                effects=left,
                disk=disk,
                programs=STORY,
            )
            crashes.update(world.count)
    assert crashes["crash amid effects"] + crashes["crash after effects"] == sum(effects)
    assert crashes["crash amid effects"], "no crash came between two effects"


def _effects(disk: str) -> list[int]:
    """How many effects each commit of the story has, from the one after the sync."""
    effects = simulate(STORY_SEED, faults=0, disk=disk, programs=STORY).server.effects[1:]
    assert len(effects) > 30, "the story is too short to tell anything"
    return effects


@pytest.mark.timeout(120)
@pytest.mark.parametrize("disk", ["fast disk", "slow disk"])
def test_while_nothing_goes_wrong_nothing_is_done_again(disk: str) -> None:
    for seed in range(1_000, 1_030):
        world = simulate(seed, faults=0, disk=disk)
        assert world.count["nothing went wrong"] == 1, "this was not checked at the end"


@pytest.mark.parametrize("seed", [3, 17, 161])
def test_a_seed_replays_byte_for_byte(seed: int) -> None:
    assert simulate(seed).digest() == simulate(seed).digest()
    assert simulate(seed).digest() != simulate(seed + 1).digest()


def test_another_process_replays_a_seed_byte_for_byte() -> None:
    seed = 5
    outputs = [
        subprocess.run(
            (sys.executable, "-m", "tests.sim", str(seed)),
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].decode().endswith(f"trace: {simulate(seed).digest()}\n")
