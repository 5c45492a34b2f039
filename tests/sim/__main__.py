"""Replay simulations: `python -m tests.sim SEED`, or many: `python -m tests.sim SEED --count 500`.

One seed is shown event by event, up to the trace's hash. Many are summed up: how often what
happened. The exit status is 1 if an invariant does not hold.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import stepwell
from tests.sim.coverage import summary
from tests.sim.simulate import simulate
from tests.sim.world import COMMIT_FAULTS, DISKS


def main() -> None:
    given = _arguments()
    print(f"over {Path(stepwell.__file__).parent}")
    total: Counter[str] = Counter()
    for seed in range(given.seed, given.seed + given.count):
        try:
            world = simulate(
                seed,
                faults=given.faults,
                crash_at=(int(given.crash[0]), given.crash[1]) if given.crash else None,
                effects=given.effects,
                disk=given.disk,
                verbose=given.count == 1,
            )
        except AssertionError as error:
            if given.until is None or str(error).startswith(f"{given.until}: "):
                print(f"seed {seed}: {error}")
                sys.exit(1)
            continue
        total += world.count
        if given.count == 1:
            print(f"trace: {world.digest()}")
    if given.count > 1:
        print(summary(total))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--count", type=int, default=1, help="seeds from this one on")
    parser.add_argument("--faults", type=int, help="how many faults may happen")
    parser.add_argument("--disk", choices=DISKS)
    parser.add_argument(
        "--crash",
        nargs=2,
        metavar=("COMMIT", "HOW"),
        help=f"HOW is one of: {', '.join(COMMIT_FAULTS)}",
    )
    parser.add_argument("--effects", type=int, help="how many leave before a crash amid effects")
    parser.add_argument("--until", type=int, help="go on until this invariant does not hold")
    return parser.parse_args()


if __name__ == "__main__":
    main()
