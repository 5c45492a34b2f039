"""Measures the product on this machine, prints a table and writes JSON.

Every figure of a run of this program is from the same minutes of the same machine: compare
figures of one run with one another, not with those of another run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from benchmarks.processes import OFFICIAL_PYTHON, Finishes, rss_mib, server, worker

START_UPS = 5
WARM_UP_RUNS = 20
IDLE_SETTLE_S = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="runs per repetition (default 300)")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions, sides interleaved")
    parser.add_argument("--json", type=Path, default=Path(".cache/bench.json"), help="output file")
    options = parser.parse_args()
    figures = uvloop.run(_measure(options.runs, options.repeat))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=1) + "\n")
    _print(figures)
    print(f"written to {options.json}")


async def _measure(runs: int, repeat: int) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}",
        "durability": "SQLite, WAL, synchronous=FULL: every answer is after its fsync",
    }
    figures["start-up"] = await _start_up()
    sides = ["stepwell", *(["inngest"] if OFFICIAL_PYTHON.exists() else [])]
    samples: dict[str, list[list[float]]] = {side: [] for side in sides}
    for number in range(repeat):
        for side in sides:
            _progress(f"one-step run, {side} worker, repetition {number + 1} of {repeat}")
            samples[side].append(await _one_step(side, runs))
    for side in sides:
        figures[f"one-step run, {side} worker"] = _spread(samples[side])
    return figures


async def _start_up() -> dict[str, Any]:
    ready_s, memory = [], []
    for number in range(START_UPS):
        _progress(f"start-up {number + 1} of {START_UPS}")
        async with server() as running:
            ready_s.append(running.ready_s)
            await asyncio.sleep(IDLE_SETTLE_S)
            memory.append(rss_mib(running.pid))
    return {
        "ready ms": round(statistics.median(ready_s) * 1000),
        "idle MiB": round(statistics.median(memory), 1),
        "n": START_UPS,
    }


async def _one_step(side: str, runs: int) -> list[float]:
    """Milliseconds from the request that sends the event to the function's last line."""
    async with (
        server() as running,
        worker(side, running.url) as finishes,
        aiohttp.ClientSession() as http,
    ):
        for number in range(WARM_UP_RUNS):
            await _one_run(http, running.url, finishes, number)
        return [
            await _one_run(http, running.url, finishes, WARM_UP_RUNS + number)
            for number in range(runs)
        ]


async def _one_run(http: aiohttp.ClientSession, url: str, finishes: Finishes, number: int) -> float:
    ended = finishes.expect(number)
    begun = time.perf_counter()
    event = {"name": "bench/one", "data": {"n": number}}
    async with http.post(f"{url}/e/bench", json=event) as answer:
        answer.raise_for_status()
    async with asyncio.timeout(30):
        return (await ended - begun) * 1000


def _spread(samples: list[list[float]]) -> dict[str, Any]:
    medians = sorted(statistics.median(sample) for sample in samples)
    tails = sorted(statistics.quantiles(sample, n=100)[98] for sample in samples)
    return {
        "p50 ms": round(statistics.median(medians), 2),
        "p50 ms least": round(medians[0], 2),
        "p50 ms most": round(medians[-1], 2),
        "p99 ms": round(statistics.median(tails), 2),
        "n": f"{len(samples)} x {len(samples[0])}",
    }


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def _print(figures: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    for name, value in figures.items():
        if isinstance(value, dict):
            shown = "  ".join(f"{key} {figure}" for key, figure in value.items())
            print(f"{name:32} {shown}")
        else:
            print(f"{name:32} {value}")


if __name__ == "__main__":
    main()
