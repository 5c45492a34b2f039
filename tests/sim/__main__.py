"""Replay simulations: `python -m tests.sim SEED`, or many: `python -m tests.sim SEED --count 500`.

One seed is shown event by event. Many are summed up: how often what happened.
"""

from __future__ import annotations

import argparse
from collections import Counter

from tests.sim.simulate import simulate
from tests.sim.world import COMMIT_FAULTS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--count", type=int, default=1, help="seeds from this one on")
    parser.add_argument("--faults", type=int, help="how many faults may happen")
    parser.add_argument(
        "--crash",
        nargs=2,
        metavar=("COMMIT", "HOW"),
        help=f"HOW is one of {', '.join(COMMIT_FAULTS)}",
    )
    given = parser.parse_args()
    crash_at = (int(given.crash[0]), given.crash[1]) if given.crash else None
    total: Counter[str] = Counter()
    for seed in range(given.seed, given.seed + given.count):
        world = simulate(seed, faults=given.faults, crash_at=crash_at, verbose=given.count == 1)
        total += world.count
    for name, count in sorted(total.items()):
        print(f"{count:>8} {name}")


if __name__ == "__main__":
    main()
