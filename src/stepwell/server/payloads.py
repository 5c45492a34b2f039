"""What calls carry, by run: the event and the memoised steps, as bytes ready to be joined.

A cache over the store, bounded in bytes; what it lacks it reads. An entry is complete: it holds
every finished step of its run, because the runtime adds each one as it is committed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from stepwell.engine.rows import StepKind
from stepwell.server.lifecycle import event_body
from stepwell.wire.calls import encode_step

if TYPE_CHECKING:
    from stepwell.engine.rows import PutStep
    from stepwell.server.lifecycle import Functions
    from stepwell.store.interface import Reader
    from stepwell.wire.ids import EventId, RunId

CACHE_BYTES_MAX = 32 * 2**20
_ENTRY_BYTES = 500  # What an entry costs beside its bytes, roughly.


class RunPayload:
    """The event of a run, and its finished steps by id, each as calls have it."""

    __slots__ = ("event", "size", "steps")

    def __init__(self, event: bytes) -> None:
        self.event = event
        self.steps: dict[str, bytes] = {}
        self.size = len(event) + _ENTRY_BYTES


class Payloads:
    """Payloads of the runs that were at work last.

    Args:
        reader: Reads what is committed.
        catalog: Names functions, for lifecycle events.
    """

    def __init__(
        self, reader: Reader, catalog: Functions, bytes_max: int = CACHE_BYTES_MAX
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._bytes_max = bytes_max
        self._runs: OrderedDict[RunId, RunPayload] = OrderedDict()
        self._size = 0

    @property
    def size_bytes(self) -> int:
        return self._size

    def of_run(self, run_id: RunId, event_id: EventId) -> RunPayload:
        """The payload of a run, with all its finished steps."""
        payload = self._runs.get(run_id)
        if payload is not None:
            self._runs.move_to_end(run_id)
            return payload
        record = self._reader.event(event_id)
        assert record is not None, "a run's event is stored with the run"
        payload = RunPayload(event_body(record, self._reader, self._catalog))
        # All of them, also for a call without any: it may have waited for room on its socket while
        # others finished steps, and what is kept here is for the next calls.
        for step in self._reader.steps(run_id):
            self._add(payload, step.step_id, memo(step.kind, step.data))
        self._keep(run_id, payload)
        return payload

    def put_new(self, run_id: RunId, event: bytes) -> None:
        """A run was committed together with its event."""
        self._keep(run_id, RunPayload(event))

    def put_step(self, row: PutStep) -> None:
        """A step was committed."""
        payload = self._runs.get(row.run_id)
        if payload is not None:
            self._size += self._add(payload, row.step_id, memo(row.kind, row.data))
            self._shrink()

    def forget(self, run_id: RunId) -> None:
        """The run is over."""
        payload = self._runs.pop(run_id, None)
        if payload is not None:
            self._size -= payload.size

    @staticmethod
    def _add(payload: RunPayload, step_id: str, memo_bytes: bytes) -> int:
        step = payload.steps[step_id] = encode_step(step_id, memo_bytes)
        size = len(step) + len(step_id) + 100
        payload.size += size
        return size

    def _keep(self, run_id: RunId, payload: RunPayload) -> None:
        self._runs[run_id] = payload
        self._size += payload.size
        self._shrink()

    def _shrink(self) -> None:
        while self._size > self._bytes_max and len(self._runs) > 1:
            _run_id, payload = self._runs.popitem(last=False)
            self._size -= payload.size


def memo(kind: StepKind, data: bytes) -> bytes:
    """A finished step as the SDK gets it. Source: docs/reference/wire/calls.md, "memos"."""
    match kind:
        case StepKind.RUN | StepKind.SIGNAL | StepKind.INVOKE | StepKind.FETCH | StepKind.INFER:
            return b'{"data":' + (data or b"null") + b"}"
        case StepKind.FAILED:
            return b'{"error":' + data + b"}"
        case StepKind.SLEEP | StepKind.SIGNAL_TIMEOUT:
            return b"null"
        case StepKind.LEGACY | StepKind.EVENT:
            return data or b"null"
