"""The whole process under generated faults: every run comes to its end, and a seed is a replay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.process_sim.clock import START_S
from tests.process_sim.faults import FAULTS
from tests.process_sim.programs import Nap, Program
from tests.process_sim.simulate import simulate
from tests.process_sim.world import World

SEEDS = 50

MUST_HAPPEN = (
    *FAULTS,
    "body again",
    "checkpoint failed",
    "checkpoint sent",
    "checkpoint stale",
    "checkpoint stored",
    "connect into nothing",
    "connect refused",
    "history ATTEMPT_FAILED",
    "history CALL_LOST",
    "history SLEEP_STARTED",
    "history STEP_PLANNED",
    "read without an answer",
    "reply over HTTP",
    "run completed",
    "run failed",
    "server crash with calls out",
    "server drain with calls out",
    "slow commit",
    "step FAILED",
    "step RUN",
    "step SLEEP",
    "steps tried apart",
    "worker crash with calls in flight",
    "worker drain with calls in flight",
    "worker's network silent with calls in flight",
    "write in pieces",
)


@pytest.mark.timeout(120)
def test_every_run_comes_to_its_end_whatever_happens() -> None:
    total: Counter[str] = Counter()
    for seed in range(SEEDS):
        total.update(simulate(seed).count)
    print("\n".join(f"{count:>8} {name}" for name, count in sorted(total.items())))
    missing = [name for name in MUST_HAPPEN if not total[name]]
    assert not missing, f"never happened in {SEEDS} seeds: {missing}"


def test_an_hour_of_sleep_passes_in_a_moment() -> None:
    nap = Program(
        name="p0",
        nodes=(Nap(name="hour", ms=3_600_000),),
        retries=0,
        raises=False,
        is_async=True,
    )
    world = World(1, faults=0, programs=(nap,))
    world.run()
    assert world.count["run completed"] > 0
    assert world.clock.now_s - START_S > 3_600
    assert world.conductor.turns < 50_000, "nobody works while everybody sleeps"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", [4, 11])
def test_a_seed_replays_byte_for_byte(seed: int) -> None:
    first = simulate(seed).digest()
    assert simulate(seed).digest() == first
    assert simulate(seed + 1).digest() != first
    again = subprocess.run(
        [sys.executable, "-m", "tests.process_sim", str(seed), "--quiet"],
        env=os.environ | {"PYTHONHASHSEED": str(seed + 1)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout.split()[-1] == first, "another process, with other hashes, does the same"
