"""How much is measured: the sizes of a full run and of a quick one."""

from __future__ import annotations

import msgspec


class Workload(msgspec.Struct, frozen=True):
    """One cell of the comparison: which function runs, and how often at a time.

    `share` is its number of runs as a multiple of `Plan.runs`, chosen so that the cells take
    about as long as one another.
    """

    name: str
    steps: int
    in_flight: int
    share: float


WORKLOADS = (
    Workload("one", 1, 1, 1),
    Workload("ten", 10, 1, 1 / 3),
    Workload("fan", 50, 1, 1 / 10),
    Workload("one", 1, 50, 10),
    Workload("ten", 10, 50, 5 / 2),
)
"""`one` is a single step, `ten` a chain of ten, `fan` fifty in parallel."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes. Times are seconds.

    Attributes:
        runs: One-step runs of a repetition with one in flight; the other cells follow from it.
        repeat: Repetitions of everything that is compared, sides interleaved.
        flood_s: How long each repetition of an intake figure sends.
        limit_s: How long each repetition of a raw limit is driven.
        mixed_s: How long each disk is under mixed load.
        start_ups: Starts of the server on an empty directory.
        footprint_runs: Runs after which the server's memory is read.
        seeds: Finished runs in each of the directories that show growth.
        sleeping: Sleeping runs in the one directory more.
        pairs: Openings of each of those directories, each beside an empty one.
        chains: Ten-step runs measured in each opening.
        waiting: Runs that wait while an event matches one of them.
        match_rounds: Rounds of such events, the first of which warms up.
        idle: Connections of workers that have nothing to do, each number with a server of its own.
        idle_s: How long they are watched; each sends a heartbeat every ten seconds.
    """

    runs: int
    repeat: int
    flood_s: float
    limit_s: float
    mixed_s: float
    start_ups: int
    footprint_runs: int
    seeds: tuple[int, ...]
    sleeping: int
    pairs: int
    chains: int
    waiting: int
    match_rounds: int
    idle: tuple[int, ...]
    idle_s: float


FULL = Plan(
    runs=300,
    repeat=5,
    flood_s=4.0,
    limit_s=2.0,
    mixed_s=10.0,
    start_ups=5,
    footprint_runs=10_000,
    seeds=(100_000, 1_000_000),
    sleeping=100_000,
    pairs=7,
    chains=50,
    waiting=100_000,
    match_rounds=21,
    idle=(1_000, 5_000),
    idle_s=20.0,
)

QUICK = Plan(
    runs=60,
    repeat=2,
    flood_s=1.0,
    limit_s=0.3,
    mixed_s=4.0,
    start_ups=2,
    footprint_runs=10_000,
    seeds=(20_000,),
    sleeping=20_000,
    pairs=2,
    chains=30,
    waiting=5_000,
    match_rounds=6,
    idle=(1_000,),
    idle_s=10.0,
)
