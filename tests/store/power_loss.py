"""Cut the power in the fixed scenario, and see that nothing acknowledged is lost.

The scenario runs on a `Disk` that goes off at the n-th call. Then the store is opened on what is
left: the database must be sound, hold exactly what it held after the last act that was acknowledged
or the one after it (whose reply had not gone out), and go on from there. Each cut is judged several
times: with nothing left of what was not synced, and with torn remains of it.

`python -m tests.store.power_loss --cuts 2000` is the long form of `test_power_loss.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import apsw
import msgspec

from stepwell.errors import StoreError
from stepwell.store.sqlite import SqliteStore
from stepwell.store.sqlite.store import DATABASE_FILE
from tests.store.disk import Disk, Image
from tests.store.scenario import (
    Restart,
    contents_after_each,
    contents_of_scenario,
    make_acts,
    perform,
)

CHECKPOINT_PAGES = 40  # Small, so that commits empty the log often.
SEED = 20_260_101

_disk_numbers = itertools.count()


class Lost(Exception):
    """A cut after which the store is not as it was acknowledged."""


class Report(msgspec.Struct, kw_only=True):
    """What a sweep did and found.

    `calls` counts cuts by (method, kind of file), `acts` by what was being done, `states` by which
    state was found: `acknowledged`, or `ahead` by the act whose reply had not gone out.
    """

    cuts: int = 0
    judged: int = 0
    calls: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    acts: Counter[str] = msgspec.field(default_factory=Counter)
    states: Counter[str] = msgspec.field(default_factory=Counter)
    losses: list[str] = msgspec.field(default_factory=list)


class PowerLoss:
    """Cuts the scenario wherever it is told to.

    Args:
        directory: A real one, for locks.
        torn: How many torn remains are judged for each cut, beside the disk with none.
        replies_early: The defect of a server that acknowledges before it commits.
    """

    def __init__(self, directory: Path, *, torn: int = 1, replies_early: bool = False) -> None:
        self._directory = directory
        self._torn = torn
        self._replies_early = replies_early
        self._acts = make_acts()
        self._contents = contents_after_each(self._acts)
        self.report = Report()

    def trace(self) -> list[tuple[str, str]]:
        """The calls of the scenario, without a cut."""
        disk = self._new_disk()
        acknowledged, _act = self._play(disk)
        assert acknowledged == len(self._acts), "without a cut the scenario ends"
        return disk.trace

    def sweep(self, cuts: int, *, progress: bool = False) -> Report:
        """Cut at `cuts` of the scenario's calls, spread evenly; each kind of call is among them."""
        trace = self.trace()
        chosen = choose(trace, cuts)
        begun = time.monotonic()
        for number, cut_at in enumerate(chosen, 1):
            self.cut(cut_at)
            if progress and number % 100 == 0:
                seconds = time.monotonic() - begun
                print(f"{number} of {len(chosen)} cuts, {seconds:.0f} s", flush=True)
        return self.report

    def cut(self, cut_at: int) -> None:
        """Cut the power at one call and judge what is left."""
        disk = self._new_disk(cut_at=cut_at)
        acknowledged, act = self._play(disk)
        assert disk.is_off, f"the scenario has a call {cut_at}"
        report = self.report
        report.cuts += 1
        report.calls[disk.trace[-1]] += 1
        report.acts[act] += 1
        for torn in range(self._torn + 1):
            survives = random.Random(f"{SEED}.{cut_at}.{torn}") if torn else None
            report.judged += 1
            try:
                ahead = self._judge(disk.after_cut(survives), acknowledged)
            except Lost as loss:
                method, kind = disk.trace[-1]
                report.losses.append(
                    f"cut at call {cut_at} ({method} of the {kind}, during {act}, "
                    f"remains {torn}): {loss}"
                )
            else:
                report.states["ahead" if ahead else "acknowledged"] += 1

    def _play(self, disk: Disk) -> tuple[int, str]:
        """Run the scenario until it ends or the power goes.

        Returns:
            How many acts were acknowledged, and the name of the one that was being done.
        """
        acknowledged = 0
        name = "Start"
        store = None
        try:
            store = self._open(disk)
            for act in self._acts:
                name = type(act).__name__
                if self._replies_early:
                    acknowledged += 1
                if isinstance(act, Restart):
                    store.close()
                    store = self._open(disk)
                else:
                    perform(store, act)
                if disk.is_off:
                    break  # it went off in work that comes after the commit
                if not self._replies_early:
                    acknowledged += 1
        except (StoreError, apsw.Error):
            if not disk.is_off:
                raise
        finally:
            # Nobody closes anything when the power goes; here the process lives on.
            with contextlib.suppress(apsw.Error):
                if store is not None:
                    store.close()
            disk.unregister()
        return acknowledged, name

    def _judge(self, image: Image, acknowledged: int) -> bool:
        """Open what is left of the disk.

        Returns:
            Whether the act was found done whose reply had not gone out.
        Raises:
            Lost: Something is not as it must be.
        """
        disk = self._new_disk(image=image)
        store = None
        try:
            store = self._open(disk)
            self._check_soundness(disk)
            return self._compare(store, acknowledged)
        except (StoreError, apsw.Error) as error:
            raise Lost(f"the store cannot be used: {error}") from error
        finally:
            if store is not None:
                store.close()
            disk.unregister()

    def _compare(self, store: SqliteStore, acknowledged: int) -> bool:
        """Returns and raises like `_judge`."""
        found = contents_of_scenario(store)
        following = min(acknowledged + 1, len(self._acts))
        for state in (acknowledged, following):
            if found == self._contents[state]:
                self._go_on(store, state)
                return state != acknowledged
        raise Lost(_difference(found, self._contents[acknowledged]))

    def _go_on(self, store: SqliteStore, state: int) -> None:
        """The next act must be possible."""
        if state == len(self._acts) or isinstance(self._acts[state], Restart):
            return
        perform(store, self._acts[state])
        if contents_of_scenario(store) != self._contents[state + 1]:
            raise Lost("the store does not go on from the state that it holds")

    def _check_soundness(self, disk: Disk) -> None:
        path = str(self._directory / DATABASE_FILE)
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY, vfs=disk.name)
        try:
            result = connection.pragma("integrity_check")
        finally:
            connection.close(force=True)
        if result != "ok":
            raise Lost(f"the database is damaged: {result}")

    def _open(self, disk: Disk) -> SqliteStore:
        return SqliteStore(self._directory, vfs=disk.name, checkpoint_pages=CHECKPOINT_PAGES)

    def _new_disk(self, *, image: Image | None = None, cut_at: int | None = None) -> Disk:
        self._directory.mkdir(exist_ok=True)
        for path in self._directory.glob(f"{DATABASE_FILE}*"):
            path.unlink()  # the real files only hold locks and shared memory of the last machine
        return Disk(f"power-loss-{next(_disk_numbers)}", image=image, cut_at=cut_at)


def choose(trace: list[tuple[str, str]], cuts: int) -> list[int]:
    """Calls to cut at, counted from 1: one of each kind, the others spread evenly."""
    if cuts >= len(trace):
        return list(range(1, len(trace) + 1))
    firsts = {call: number for number, call in reversed(list(enumerate(trace, 1)))}
    of_each_kind = set(firsts.values())
    others = [number for number in range(1, len(trace) + 1) if number not in of_each_kind]
    wanted = max(0, cuts - len(of_each_kind))
    spread = {others[share * len(others) // wanted] for share in range(wanted)}
    return sorted(of_each_kind | spread)


def _difference(found: dict[str, Any], acknowledged: dict[str, Any]) -> str:
    """Which parts differ from what was acknowledged, in counts."""
    parts = [
        f"{part}: {_size(found[part])} where {_size(acknowledged[part])} were acknowledged"
        for part in acknowledged
        if found[part] != acknowledged[part]
    ]
    return "; ".join(parts) or "another state than any that was acknowledged"


def _size(value: Any) -> int:
    return value if isinstance(value, int) else len(value)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.store.power_loss", description=__doc__)
    parser.add_argument("--cuts", type=int, default=2_000)
    parser.add_argument("--torn", type=int, default=2, help="torn remains judged for each cut")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        power = PowerLoss(Path(directory) / "data", torn=options.torn)
        report = power.sweep(options.cuts, progress=True)
    print(f"\n{report.cuts} cuts, each judged {options.torn + 1} times: {report.judged} in all")
    print("cut at:  ", ", ".join(f"{m} {k} {n}" for (m, k), n in report.calls.most_common()))
    print("during:  ", ", ".join(f"{act} {n}" for act, n in report.acts.most_common()))
    print("found:   ", ", ".join(f"{state} {n}" for state, n in report.states.most_common()))
    for loss in report.losses:
        print("LOST:    ", loss)
    sys.exit(f"{len(report.losses)} losses" if report.losses else 0)


if __name__ == "__main__":
    main()
