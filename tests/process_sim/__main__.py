"""Replay simulations of the whole process: `python -m tests.process_sim SEED`, or many of them:
`python -m tests.process_sim SEED --count 500`, or as many as `--minutes 10` allow.

One seed is shown event by event; many are summed up: how often what happened. Without a seed one
is drawn, and told.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from tests.process_sim.faults import FAULTS
from tests.process_sim.simulate import simulate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.process_sim", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?")
    parser.add_argument("--count", type=int, help="seeds from this one on")
    parser.add_argument("--minutes", type=float, help="go on for so long")
    parser.add_argument("--faults", type=int, help="how many faults there are in each")
    parser.add_argument("--quiet", action="store_true", help="only the digest of a seed")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
    if given.count is None and given.minutes is None:
        world = simulate(seed, faults=given.faults, verbose=not given.quiet)
        print(world.digest())
        return
    print(f"seeds from {seed} on", flush=True)
    until_s = time.monotonic() + 60 * (given.minutes or 1e6)
    total: Counter[str] = Counter()
    seeds = 0
    while time.monotonic() < until_s and (given.count is None or seeds < given.count):
        world = simulate(seed + seeds, faults=given.faults)
        seeds += 1
        total += world.count
        total["hours simulated"] += round(world.clock.passed_ms / 3_600_000)
    print(f"{seeds:>8} seeds")
    for name, count in sorted(total.items()):
        print(f"{count:>8} {name}")
    missing = [name for name in FAULTS if not total[name]]
    if given.minutes is not None and missing:
        sys.exit(f"never happened: {missing}")


if __name__ == "__main__":
    main()
