"""Some troubles of the transport with short leases, and proof that the judge would notice.

All of them, and those that last: `make soak SUITE=transport`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos.transport.storm import CALLS_PER_CLIENT, storm
from tests.chaos.transport.troubles import SHORT, troubles
from tests.chaos.transport.verdict import OURS, Judge, Sent, Verdict, table
from tests.compat.worker import Stage

if TYPE_CHECKING:
    from pathlib import Path

TROUBLES = {trouble.name: trouble for trouble in troubles(SHORT)}
HELD = 2
CLIENTS = 60


@pytest.mark.chaos
@pytest.mark.compat
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "languages"),
    [
        ("kill -9", ("python", "typescript4", "go")),
        ("deploy", ("typescript4", "stepwell")),
        ("cut 6 s, reset", ("typescript3", "stepwell")),
    ],
    ids=["killed-server", "rolling-deploy", "cut-beyond-the-grace"],
)
def test_nothing_is_lost_and_nothing_runs_after_its_commit(
    tmp_path: Path, name: str, languages: tuple[str, ...]
) -> None:
    verdicts = TROUBLES[name].run(tmp_path, languages)

    assert [fault for verdict in verdicts for fault in verdict.faults] == []
    for verdict in verdicts:
        counts = (verdict.lost, verdict.twice, verdict.after_commit, verdict.early)
        assert (verdict.held, *counts) == (HELD, 0, 0, 0, 0)
        assert verdict.runs > HELD


@pytest.mark.chaos
@pytest.mark.timeout(60)
def test_workers_that_all_come_back_at_once_harm_nobody(tmp_path: Path) -> None:
    result = storm(tmp_path, clients=CLIENTS, real=2)

    assert result.faults == []
    assert len(result.took_ms) == CLIENTS
    assert result.runs == CALLS_PER_CLIENT * CLIENTS
    assert result.real_runs > HELD


@pytest.mark.chaos
@pytest.mark.timeout(60)
def test_the_judge_sees_what_is_lost_and_what_comes_late(tmp_path: Path) -> None:
    (verdict,) = TROUBLES["kill -9"].run(tmp_path, (OURS,))
    assert verdict.faults == []
    notes = Stage(tmp_path / "stage").notes()
    first = Sent("key-0", OURS, is_held=True, ids=[])

    def judged(notes: list[dict[str, Any]], event: Sent) -> list[str]:
        verdict = Verdict(trouble="none", sdk=OURS)
        Judge(notes).judge(tmp_path / "data", [event], {OURS: verdict})
        return verdict.faults

    assert judged(notes, first) == []
    lost = Sent("key-lost", OURS, is_held=False, ids=["01K7T09A4B0000000000000000"])
    assert judged(notes, lost) == [
        "key-lost was acknowledged and is lost",
        "key-lost has 0 runs",
    ]
    assert len(judged([], first)) == 3, "no body made its results"
    late = [note | {"at": note["at"] + 3_600} for note in notes]
    assert all("after its commit" in fault for fault in judged(late, first))
    assert len(judged(late, first)) == 3


def test_a_table_has_a_line_for_each_verdict() -> None:
    verdict = Verdict(trouble="drain", sdk="go", runs=12, by_sdk=Counter({"Error": 2}))

    titles, line = table([verdict])

    assert titles.index("the SDK's own") == line.index("2 Error")
    assert line.split()[:3] == ["drain", "go", "12"]
