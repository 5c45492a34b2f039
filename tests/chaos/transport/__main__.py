"""Every SDK's worker through every trouble of its transport: `python -m tests.chaos.transport`.

With the settings that users get, so that a cut beyond the lease lasts some minutes; `--short` has
shorter ones. Prints a table, a row for each trouble and SDK. The exit status is 1 if anything that
was acknowledged is lost, a body began after its step was committed, or the transport used up an
attempt below the third loss in a row.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.transport.troubles import LONG, SHORT, troubles
from tests.chaos.transport.verdict import table

if TYPE_CHECKING:
    from tests.chaos.transport.verdict import Verdict


def main(arguments: list[str] | None = None) -> int:
    """Run the troubles; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.transport", description=__doc__)
    parser.add_argument("--short", action="store_true", help="short leases, graces and heartbeats")
    parser.add_argument("--only", nargs="*", default=[], help="troubles whose names begin so")
    parser.add_argument("--sdk", nargs="*", default=[])
    given = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="stepwell-transport-"))
    verdicts: list[Verdict] = []
    trouble_count = 0
    for trouble in troubles(SHORT if given.short else LONG):
        if given.only and not trouble.name.startswith(tuple(given.only)):
            continue
        print(f"{trouble.name} ...", flush=True)
        trouble_count += 1
        found = trouble.run(directory / str(trouble_count), tuple(given.sdk))
        verdicts += found
        for line in table(found)[1:]:
            print(line, flush=True)
    print()
    for line in table(verdicts):
        print(line)
    faults = [f"{v.trouble}, {v.sdk}: {fault}" for v in verdicts for fault in v.faults]
    for fault in faults[:50]:
        print(f"FAULT {fault}")
    if faults:
        print(f"{len(faults)} faults; data, notes and logs are in {directory}")
        return 1
    shutil.rmtree(directory)
    print("nothing was lost, nothing ran again after its commit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
