"""The runtime's interface as the gateway uses it, over a catalog and a list of what was asked."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from stepwell.engine.catalog import Catalog
from stepwell.server.ids import SystemIds
from stepwell.server.runtime import Registered
from stepwell.wire.ids import app_uuid, ulid_bytes, ulid_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.errors import StepwellError
    from stepwell.server.runtime import Attached
    from stepwell.wire.functions import Registration
    from stepwell.wire.outcomes import Outcome

LEASE_MS = 120_000


class RecordingRuntime:
    """Takes everything at once, unless told to hold reports or to fail.

    Attributes:
        asked: What was called, in order: ("attach", id), ("acked", request), ...
        held: Callbacks of reports that wait, while `holds_reports`.
        leases: Request id -> id of the current lease.
    """

    def __init__(self) -> None:
        self.ids = SystemIds()
        self.catalog = Catalog()
        self.asked: list[tuple[str, Any]] = []
        self.attached: dict[str, Attached] = {}
        self.outcomes: list[tuple[str, Outcome]] = []
        self.holds_reports = False
        self.held: list[Callable[[bool, StepwellError | None], None]] = []
        self.report_error: StepwellError | None = None
        self.register_error: Exception | None = None
        self.leases: dict[str, bytes] = {}
        self._sync_numbers = itertools.count(1)
        self.clock_ms: int | None = None

    def now_ms(self) -> int:
        return self.clock_ms if self.clock_ms is not None else time.time_ns() // 1_000_000

    async def register(self, registration: Registration) -> Registered:
        self.asked.append(("register", (registration.app_name, registration.app_version)))
        if self.register_error is not None:
            raise self.register_error
        writes = self.catalog.register(registration, self.now_ms())
        return Registered(
            modified=bool(writes),
            app_id=app_uuid(registration.app_name),
            sync_id=f"sync-{next(self._sync_numbers)}",
        )

    def submit_report(
        self,
        *,
        request_id: str,
        outcome: Outcome,
        done: Callable[[bool, StepwellError | None], None],
    ) -> None:
        self.asked.append(("report", request_id))
        self.outcomes.append((request_id, outcome))
        if self.holds_reports:
            self.held.append(done)
        else:
            done(self.report_error is None, self.report_error)

    def release(self) -> None:
        """The commit of all held reports is done; calls of the same commit are flushed after."""
        held, self.held = self.held, []
        for done in held:
            done(self.report_error is None, self.report_error)

    def attach(self, worker: Attached) -> None:
        self.asked.append(("attach", worker.connection_id))
        self.attached[worker.connection_id] = worker

    def detach(self, connection_id: str) -> None:
        self.asked.append(("detach", connection_id))

    def gone(self, connection_id: str) -> None:
        self.asked.append(("gone", connection_id))

    def acked(self, *, connection_id: str, request_id: str) -> None:
        self.asked.append(("acked", (connection_id, request_id)))

    def extend_lease(self, *, connection_id: str, request_id: str, lease_id: bytes) -> str | None:
        self.asked.append(("extend", (connection_id, request_id)))
        if self.leases.get(request_id) != lease_id:
            return None
        new_id = self.ids.ulid(self.now_ms() + LEASE_MS)
        self.leases[request_id] = new_id
        return ulid_text(new_id)

    def lease(self, request_id: str) -> str:
        """Give this call a lease; returns its id as text."""
        self.leases[request_id] = ulid_bytes(self.now_ms() + LEASE_MS, bytes(10))
        return ulid_text(self.leases[request_id])

    def named(self, name: str) -> list[Any]:
        """The arguments of all calls of one method."""
        return [argument for called, argument in self.asked if called == name]
