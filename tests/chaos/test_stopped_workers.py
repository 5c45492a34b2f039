"""A dozen late replies of stopped workers, and proof that one that was taken would be noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.chaos.stopped_workers import KINDS, RAW, StoppedWorkers

if TYPE_CHECKING:
    from pathlib import Path

CALLS = 4


@pytest.mark.chaos
@pytest.mark.compat
@pytest.mark.timeout(120)
def test_late_replies_are_refused_and_the_others_results_stay(tmp_path: Path) -> None:
    scene = StoppedWorkers(tmp_path, calls=CALLS)

    assert scene.run(replies=CALLS * len(KINDS)) == []

    assert all(scene.held[kind] >= CALLS for kind in KINDS)
    assert scene.sent[RAW] == scene.held[RAW] <= scene.refused[RAW]
    assert scene.refused.total() >= CALLS * len(KINDS)
    committed = next(iter(scene.committed))
    (fault,) = scene.judge({committed})
    assert "has a late result" in fault
