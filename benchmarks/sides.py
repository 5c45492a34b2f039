"""A side: one system under the same work as the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from benchmarks.finishes import Finishes

LANES_MAX = 50
"""Runs in flight at a time, at most."""

NEEDED = "`make bench` makes it, which needs a package index"
"""What to say of an environment that is missing."""


class Session(Protocol):
    """A side that is up, with its server and its worker.

    `pids` are those of its processes, by role: `server` (where it has one) and `worker`.
    """

    @property
    def finishes(self) -> Finishes: ...

    @property
    def pids(self) -> dict[str, int]: ...

    async def start(self, work: str, number: int, lane: int) -> None:
        """Start a run; returns when the system has accepted it, durably.

        Args:
            work: `one`, `ten` or `fan`.
            number: What the worker reports when the run ends.
            lane: Below `LANES_MAX`; a lane starts one run at a time.
        """
        ...


class Side(Protocol):
    """How to bring it up."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def durability(self) -> str:
        """What a crash of the machine cannot undo, and by which means."""
        ...

    @property
    def share(self) -> float:
        """Its runs as a share of everybody's, below 1 for what would take too long."""
        ...

    def missing(self) -> str | None:
        """Why it cannot be measured here, None if it can."""
        ...

    def up(self) -> AbstractAsyncContextManager[Session]:
        """Bring it up on an empty directory, ready for work.

        Raises:
            NotStarted: It does not come up.
        """
        ...
