"""Generated programs under generated faults, and every place where a server can die."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sim.programs import Do, Nap, Program, Stumble, Together, bodies_without_faults
from tests.sim.simulate import simulate
from tests.sim.world import CALL_FATES, COMMIT_FAULTS

SEEDS = 300

MUST_HAPPEN = (
    *CALL_FATES,
    *COMMIT_FAULTS,
    "extension refused",
    "handler started",
    "history ATTEMPT_FAILED",
    "history CALL_LOST",
    "history SLEEP_STARTED",
    "history STEP_PLANNED",
    "horizon drawn nearer",
    "horizon moved",
    "report stale",
    "report taken",
    "run failed: Error",
    "run failed: InngestErrFunctionOverflowed",
    "run failed: connect_worker_stopped_responding",
    "run left memory alive",
    "step FAILED",
    "step RUN",
    "step SLEEP",
    "third loss in a row",
)

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
)
"""One of everything, for a crash at each of its commits."""


@pytest.mark.timeout(180)
def test_every_run_comes_to_its_end_whatever_happens() -> None:
    total: Counter[str] = Counter()
    for seed in range(SEEDS):
        total.update(simulate(seed).count)
    print("\n".join(f"{count:>8} {name}" for name, count in sorted(total.items())))
    missing = [name for name in MUST_HAPPEN if not total[name]]
    assert not missing, f"never happened in {SEEDS} seeds: {missing}"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", COMMIT_FAULTS)
def test_a_crash_at_any_commit_changes_nothing_in_the_end(how: str) -> None:
    commits = simulate(1, faults=0, programs=STORY).server.commits - 1
    assert commits > 30, "the story is too short to tell anything"
    for at in range(commits):
        world = simulate(1, faults=0, crash_at=(at, how), programs=STORY)
        assert world.count[how] == 1, f"there was no {how} at commit {at}"
        assert not world.count["run failed: connect_worker_stopped_responding"]


@pytest.mark.timeout(120)
def test_without_faults_no_body_runs_more_often_than_its_failures_ask() -> None:
    for seed in range(1_000, 1_060):
        world = simulate(seed, faults=0)
        for run in world.server.reader.runs(limit=1_000):
            allowed = bodies_without_faults(world.program(run.function_no))
            for name, count in world.bodies[run.run_id].items():
                assert count <= allowed[name], f"seed {seed}: {name} ran {count} times"


@pytest.mark.parametrize("seed", [3, 17, 161])
def test_a_seed_replays_byte_for_byte(seed: int) -> None:
    assert simulate(seed).digest() == simulate(seed).digest()
    assert simulate(seed).digest() != simulate(seed + 1).digest()
