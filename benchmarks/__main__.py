"""Measures the product on this machine, beside its peers; prints tables and writes JSON.

Every figure of a run of this program is from the same minutes of the same machine: compare
figures of one run with one another, not with those of another run.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop

from benchmarks import disk, machine, progress
from benchmarks.macro import (
    connections,
    footprint,
    growth,
    intake,
    limits,
    matching,
    mixed,
    workloads,
)
from benchmarks.ours import OurSide
from benchmarks.peers.dbos_peer import DbosPeer
from benchmarks.peers.restate_peer import RestatePeer
from benchmarks.plan import FULL, QUICK
from benchmarks.tables import Table, records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.plan import Plan
    from benchmarks.sides import Side

SUITES = (
    "limits",
    "intake",
    "workloads",
    "mixed",
    "connections",
    "footprint",
    "matching",
    "growth",
)
SIDES = ("stepwell", "safe", "performant", "official", "restate", "dbos")
MORE_SIDES = (*SIDES, "restate-uvloop")
"""Those that are not asked for are left out."""
OTHERS_CORES_MAX = 0.1
"""More than this of the machine's time for others, and figures are not worth keeping."""


def main() -> None:
    options = _parse()
    plan = QUICK if options.quick else FULL
    if options.runs is not None:
        plan = msgspec.structs.replace(plan, runs=options.runs)
    if options.repeat is not None:
        plan = msgspec.structs.replace(plan, repeat=options.repeat)
    try:
        figures = uvloop.run(_until_signal(plan, options.only or SUITES, options.sides or SIDES))
    except (asyncio.CancelledError, KeyboardInterrupt):
        progress.clear()
        raise SystemExit("interrupted; nothing was written") from None
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"written to {options.json}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a look, in two minutes")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SUITES,
        metavar="SUITE",
        help=", ".join(SUITES),
    )
    parser.add_argument(
        "--sides",
        nargs="+",
        choices=MORE_SIDES,
        metavar="SIDE",
        help=f"whom to compare in `workloads`: {', '.join(SIDES)}; or also restate-uvloop",
    )
    parser.add_argument(
        "--runs",
        type=_positive,
        help=f"one-step runs of a repetition with one in flight; other work in proportion "
        f"(default {FULL.runs}, quick {QUICK.runs})",
    )
    parser.add_argument(
        "--repeat",
        type=_positive,
        help=f"repetitions, sides interleaved (default {FULL.repeat}, quick {QUICK.repeat})",
    )
    parser.add_argument("--json", type=Path, default=Path(".cache/bench.json"), help="output file")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


async def _until_signal(plan: Plan, suites: Sequence[str], sides: Sequence[str]) -> dict[str, Any]:
    """The measurements; SIGTERM ends them, and what they started, as an interrupt does."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine that runs has a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await _measure(plan, suites, sides)


async def _measure(plan: Plan, suites: Sequence[str], sides: Sequence[str]) -> dict[str, Any]:
    tables: list[Table] = []
    quiet = Table(
        "How quiet the machine was",
        "When the suite began: load average, and the time of a synced write of 4 KiB. During it: "
        "how many cores others used.",
        ("suite", "load average", "sync us", "others' cores", "verdict"),
    )
    print(machine.describe(), flush=True)
    begun = datetime.datetime.now(datetime.UTC)
    for suite in SUITES:
        if suite not in suites:
            continue
        load, sync_us, others = machine.load_average(), disk.sync_us(), machine.OthersCpu()
        made = await _suite(suite, plan, sides)
        cores = others.cores()
        busy = cores is not None and cores > OTHERS_CORES_MAX
        quiet.add(suite, load, sync_us, cores, "TOO BUSY TO KEEP" if busy else "quiet")
        progress.clear()
        for table in made:
            print(f"\n{table.text()}", flush=True)
        tables += made
    print(f"\n{quiet.text()}\n")
    return {
        "machine": machine.describe(),
        "begun": begun.isoformat(timespec="seconds"),
        "took s": round((datetime.datetime.now(datetime.UTC) - begun).total_seconds()),
        "plan": msgspec.to_builtins(plan),
        "tables": records([quiet, *tables]),
    }


async def _suite(suite: str, plan: Plan, sides: Sequence[str]) -> list[Table]:
    match suite:
        case "limits":
            return await limits.run(plan)
        case "intake":
            return await intake.run(plan)
        case "workloads":
            return await workloads.run(plan, [_side(name) for name in MORE_SIDES if name in sides])
        case "mixed":
            return await mixed.run(plan)
        case "connections":
            return await connections.run(plan)
        case "footprint":
            return await footprint.run(plan)
        case "matching":
            return await matching.run(plan)
        case _:
            return await growth.run(plan)


def _side(name: str) -> Side:
    match name:
        case "restate":
            return RestatePeer()
        case "restate-uvloop":
            return RestatePeer("uvloop")
        case "dbos":
            return DbosPeer()
        case "official":
            return OurSide("inngest")
        case "safe" | "performant":
            return OurSide("stepwell", name)
        case _:
            return OurSide("stepwell")


if __name__ == "__main__":
    main()
