"""Figures of repetitions: medians, tails, and ratios of pairs."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.tables import Cell


class Spread(msgspec.Struct, frozen=True):
    """The median of a few values, with the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def of_ratios(cls, ours: Sequence[float], theirs: Sequence[float]) -> Spread:
        """Of the ratios of what was measured side by side, pair by pair."""
        return cls.of([one / other for one, other in zip(ours, theirs, strict=True)])

    def cells(self) -> tuple[Cell, Cell, Cell]:
        """As three columns of a table."""
        return self.median, self.least, self.most


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all values do not exceed; the greatest, if they are few."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
