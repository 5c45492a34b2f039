"""Simulate for minutes on all cores: `python -m tests.sim.soak --minutes 10`.

First every planted bug is hunted, which takes half a minute or more; then one seed after the other
is simulated for as long as was asked. The exit status is 1 if a bug was not caught, if an invariant
did not hold (with the command that replays it), or if anything that must happen never did.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING

from tests.sim.coverage import missing, summary
from tests.sim.planted import Bug, Verdict, hunt, read_bugs
from tests.sim.simulate import simulate

if TYPE_CHECKING:
    from concurrent.futures import Future

BATCH = 20
PROGRESS_S = 30.0
FAILURES_MAX = 10
"""So many are enough to look at."""

HUNT_SEEDS = 2_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, help="the first one; by default it is drawn")
    given = parser.parse_args()
    first = random.randrange(10**9) if given.seed is None else given.seed
    cores = os.cpu_count() or 1
    faults = _hunt_all(cores)
    total, failures = _simulate_until(time.monotonic() + 60 * given.minutes, first, cores)
    print(summary(total))
    faults += failures
    if never := missing(total):
        faults.append(f"never happened: {', '.join(never)}")
    print("\n".join(faults) or "every invariant held, every planted bug was caught")
    sys.exit(bool(faults))


def _hunt_all(cores: int) -> list[str]:
    bugs = read_bugs()
    print(f"hunting {len(bugs)} planted bugs", flush=True)
    with ThreadPoolExecutor(cores) as pool:
        verdicts = list(pool.map(_hunt, bugs))
    missed = [each for each in verdicts if not each.caught]
    print(f"{len(bugs) - len(missed)} of {len(bugs)} planted bugs were caught", flush=True)
    return [f"not caught: {each.bug.name}\n{each.said}" for each in missed]


def _hunt(bug: Bug) -> Verdict:
    with tempfile.TemporaryDirectory() as directory:
        verdict = hunt(bug, Path(directory), seeds=HUNT_SEEDS)
    seen = next((line for line in verdict.said.splitlines() if line.startswith("seed ")), "")
    print(f"  {'caught' if verdict.caught else 'MISSED'} {bug.name}: {seen[:100]}", flush=True)
    return verdict


def _simulate_until(until_s: float, first: int, cores: int) -> tuple[Counter[str], list[str]]:
    print(f"simulating from seed {first} on", flush=True)
    total: Counter[str] = Counter()
    failures: list[str] = []
    done = 0
    seed, told_s = first, time.monotonic()
    running: set[Future[tuple[Counter[str], list[str]]]] = set()
    with ProcessPoolExecutor(cores) as pool:
        while True:
            over = time.monotonic() >= until_s or len(failures) >= FAILURES_MAX
            while not over and len(running) < 2 * cores:
                running.add(pool.submit(_simulate, seed))
                seed += BATCH
            if not running:
                break
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for batch in ended:
                counts, failed = batch.result()
                total += counts
                failures += failed
                done += BATCH
                for failure in failed:
                    print(failure, flush=True)
            if time.monotonic() >= told_s + PROGRESS_S:
                told_s = time.monotonic()
                left_s = max(0, round(until_s - told_s))
                print(f"  {done} seeds, {len(failures)} failed, {left_s} s to go", flush=True)
    print(f"{done} seeds, {len(failures)} failed", flush=True)
    return total, failures


def _simulate(first: int) -> tuple[Counter[str], list[str]]:
    total: Counter[str] = Counter()
    failures: list[str] = []
    for seed in range(first, first + BATCH):
        try:
            total += simulate(seed).count
        except AssertionError as error:
            failures.append(f"seed {seed}: {error}")
    return total, failures


if __name__ == "__main__":
    main()
