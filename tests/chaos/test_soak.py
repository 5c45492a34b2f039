"""A dozen kills of the soak, and proof that it would see what it looks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.kills import OF_SERVER, OF_WORKERS
from tests.chaos.ledger import Ledger, judge
from tests.chaos.load import Sent
from tests.chaos.soak import Goal, Soak

if TYPE_CHECKING:
    from pathlib import Path

SEED = 7
KILLS = 12


@pytest.mark.chaos
@pytest.mark.compat
@pytest.mark.timeout(120)
def test_a_short_soak_loses_nothing_and_would_notice(tmp_path: Path) -> None:
    soak = Soak(tmp_path, SEED)

    assert soak.run(Goal(kills=KILLS)) == []

    kills = soak.kills
    assert min(kills.of_server, kills.of_workers) >= KILLS
    assert all(kills.counts[kind] for kind in (*OF_SERVER, *OF_WORKERS))
    assert 2 * kills.in_flight.total() >= kills.counts.total()
    sent = list(soak.load.sent.values())
    assert len(sent) > 50
    lost = Sent(key="key-lost", kind="chain", ids=["01K7T09A4B0000000000000000"])
    faults = judge(soak.data_dir, [*sent, lost], soak.ledger).faults
    assert faults == [
        "key-lost: event 01K7T09A4B0000000000000000 was acknowledged and is lost",
        "key-lost (chain) has 0 runs",
    ]
    other = next(event for event in sent if event.kind == "chain")
    confused = Sent(key=other.key, kind="nap", ids=other.ids)
    (fault,) = judge(soak.data_dir, [confused], soak.ledger).faults
    assert "has the steps" in fault
    assert soak.ledger.stored > 50
    again = Ledger(tmp_path / "again")
    with (tmp_path / "again").open("w") as notes:
        for note in ("begin", "stored", "begin"):
            notes.write(f'{{"name":"{note}","pid":1,"run":"r","step":"s","result":"{note}"}}\n')
    assert judge(soak.data_dir, [], again).faults == ["r: s began again after it was stored"]
    assert judge(soak.data_dir, [], again, stopped={1}).faults == []
    nobody = Ledger(tmp_path / "nothing")
    assert len(judge(soak.data_dir, [other], nobody).faults) == 5, "no body made its results"
