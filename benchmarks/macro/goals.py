"""Goals beside what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from benchmarks.tables import Table

if TYPE_CHECKING:
    from benchmarks.samples import Spread


class Goal(msgspec.Struct, frozen=True):
    """A bound on a median."""

    at_most: float | None = None
    at_least: float | None = None

    def __str__(self) -> str:
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return f"at least {self.at_least:g}"

    def is_met(self, value: float) -> bool:
        return (self.at_most is None or value <= self.at_most) and (
            self.at_least is None or value >= self.at_least
        )


def goals_table(title: str, note: str) -> Table:
    """A table for `judge`."""
    return Table(title, note, ("what", "median", "least", "most", "goal", "verdict"))


def judge(table: Table, what: str, spread: Spread, goal: Goal | None) -> None:
    """Add a figure and whether its median keeps to the goal, if there is one."""
    if goal is None:
        table.add(what, *spread.cells(), None, None)
    else:
        verdict = "met" if goal.is_met(spread.median) else "NOT MET"
        table.add(what, *spread.cells(), str(goal), verdict)
