"""The power fails, anywhere: nothing acknowledged is lost, nothing is half there.

The first test is the claim; the others show that it would notice: a store that does not sync, one
that syncs too little, and a server that acknowledges too early must each be caught.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.store.sqlite import connections
from tests.store.power_loss import PowerLoss, choose

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.store, pytest.mark.timeout(60)]

CUTS = 200
MUTANT_CUTS = 30


def test_nothing_acknowledged_is_lost_in_a_power_cut(tmp_path: Path) -> None:
    report = PowerLoss(tmp_path / "data").sweep(CUTS)
    print(report)
    assert report.losses == []
    assert report.cuts == CUTS
    # It would prove little if the cuts had missed what is dangerous.
    dangerous = {("write", "wal"), ("sync", "wal"), ("write", "db"), ("sync", "db")}
    assert dangerous <= set(report.calls)
    assert {"Start", "Commit", "Idle", "Expire", "Restart"} == set(report.acts)
    # Both outcomes of a commit whose reply was not out yet were met.
    assert report.states["acknowledged"] > 0
    assert report.states["ahead"] > 0


def test_scenario_is_long_enough_to_cut_two_thousand_times(tmp_path: Path) -> None:
    assert len(PowerLoss(tmp_path / "data").trace()) >= 2_000


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_store_that_does_not_sync_its_commits_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str
) -> None:
    monkeypatch.setattr(connections, "SYNCHRONOUS", synchronous)
    report = PowerLoss(tmp_path / "data").sweep(MUTANT_CUTS)
    assert report.losses


def test_reply_before_its_commit_is_caught(tmp_path: Path) -> None:
    report = PowerLoss(tmp_path / "data", replies_early=True).sweep(MUTANT_CUTS)
    assert report.losses


def test_chosen_calls_hold_each_kind_and_are_spread() -> None:
    trace = [("open", "db"), *[("write", "wal")] * 97, ("sync", "wal"), ("delete", "wal")]
    assert choose(trace, 1_000) == list(range(1, 101))
    assert choose(trace, 12) == [1, 2, 3, 15, 27, 39, 51, 63, 75, 87, 99, 100]
