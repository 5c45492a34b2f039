"""Compare many expressions on all cores: `python -m tests.properties.expressions.soak`.

The exit status is 1 if a value differed, if anything that must be used was not, or if too much of
what was made has no answer in standard CEL.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.properties.expressions.agreement import Agreement

AGREED_MIN = 100_000
BATCH = 2_000
EACH_MIN = 500
ROUND = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.properties.expressions.soak", description=__doc__
    )
    parser.add_argument("--count", type=int, default=AGREED_MIN, help="so many must agree")
    parser.add_argument("--seed", type=int, help="the first one; by default it is drawn")
    given = parser.parse_args()
    first = random.randrange(10**9) if given.seed is None else given.seed
    print(f"comparing expressions from seed {first} on", flush=True)
    total = Agreement()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        while total.agreed < given.count and not total.failures:
            starts = range(first, first + ROUND * BATCH, BATCH)
            for part in pool.map(compare, starts):
                total.add(part)
            first += ROUND * BATCH
            print(f"  {total.agreed} agreed, {len(total.failures)} differ", flush=True)
    print(total.summary())
    faults = total.faults(each_min=EACH_MIN * given.count // AGREED_MIN)
    print("\n".join(faults) or "no value differed")
    sys.exit(bool(faults))


def compare(first: int, count: int = BATCH) -> Agreement:
    """Compare the expressions of these seeds."""
    found = Agreement()
    for seed in range(first, first + count):
        found.compare(seed)
    return found


if __name__ == "__main__":
    main()
