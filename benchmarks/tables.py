"""What a suite hands over: tables that are printed as they are, and written as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

Cell: TypeAlias = str | int | float | None


class Table(msgspec.Struct):
    """A title, a sentence on what the figures are, and rows under named columns."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]] = []

    def add(self, *cells: Cell) -> None:
        assert len(cells) == len(self.columns), "a row has a cell for each column"
        self.rows.append(cells)

    def records(self) -> list[dict[str, Cell]]:
        """The rows as JSON objects."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]

    def text(self) -> str:
        """The table as printed: text to the left, figures to the right."""
        shown = [[_shown(cell) for cell in row] for row in self.rows]
        widths = [
            max([len(column), *(len(row[at]) for row in shown)])
            for at, column in enumerate(self.columns)
        ]
        leftward = [
            all(isinstance(row[at], str | None) for row in self.rows)
            for at in range(len(self.columns))
        ]
        lines = [self.title, *([self.note] if self.note else [])]
        for row in [list(self.columns), *shown]:
            cells = (
                cell.ljust(width) if left else cell.rjust(width)
                for cell, width, left in zip(row, widths, leftward, strict=True)
            )
            lines.append("  " + "  ".join(cells).rstrip())
        return "\n".join(lines)


def records(tables: Iterable[Table]) -> dict[str, list[dict[str, Cell]]]:
    """All tables by title, for JSON."""
    return {table.title: table.records() for table in tables}


def _shown(cell: Cell) -> str:
    """Three figures that matter; whole numbers from a hundred up."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 100:
        return f"{cell:,.0f}"
    return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"
