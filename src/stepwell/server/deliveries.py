"""After the commit: what a transition orders is carried out, and what the next calls carry is kept.

Source: docs/explanation/architecture.md; design rule "persist, then tell".
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from stepwell.engine.effects import Dispatch, Reply, Request, RunEnded, Withdraw
from stepwell.engine.rows import PutEvent, PutStep
from stepwell.engine.turn import SERVER_CONNECTION
from stepwell.server.dispatch.connect_call import ConnectCalls
from stepwell.server.dispatch.http_call import HttpCalls
from stepwell.server.worker_port import AttachedApp
from stepwell.wire.events import event_object
from stepwell.wire.ids import ulid_text

if TYPE_CHECKING:
    from stepwell.engine.catalog import FunctionEntry
    from stepwell.engine.effects import Transition
    from stepwell.server.payloads import Payloads, RunPayload
    from stepwell.server.worker_port import Attached, Requester, WorkerPort
    from stepwell.wire.ids import RequestId

CALLS_TOGETHER = 8
"""More of a turn do not wait for its end: workers begin with these while the others are made."""

_log = logging.getLogger(__name__)


_T = TypeVar("_T")
_Made = TypeVar("_Made", covariant=True)


class Encode(Protocol[_Made]):
    """Writes a call as its worker reads it."""

    def __call__(self, call: Dispatch, entry: FunctionEntry, payload: RunPayload, /) -> _Made: ...


class Desk(Protocol):
    """The runtime, as deliveries need it."""

    def by_no(self, no: int, /) -> FunctionEntry | None: ...
    def worker(self, connection_id: str, /) -> Attached | AttachedApp | None: ...
    def is_out(self, request_id: RequestId, /) -> bool: ...
    def answer(self, ticket: int, result: object, error: None, /) -> None: ...


class Deliveries:
    """Calls to workers, answers to whoever asked, and the payloads of calls."""

    def __init__(self, desk: Desk, payloads: Payloads) -> None:
        self._desk = desk
        self._payloads = payloads
        self._connect_calls = ConnectCalls()
        self._http_calls = HttpCalls()
        self.requester: Requester | None = None

    def remember(self, transition: Transition) -> None:
        """Keep what the next calls carry."""
        for row in transition.writes:
            if isinstance(row, PutStep):
                self._payloads.put_step(row)
            elif isinstance(row, PutEvent) and row.runs and row.source_run is None:
                event = event_object(
                    name=row.name,
                    id=row.external_id or ulid_text(row.event_id),
                    ts_ms=row.ts_ms,
                    data=row.data,
                    user=row.user,
                    v=row.v,
                    meta=row.meta,
                )
                for run_id in row.runs:
                    self._payloads.put_new(run_id, event)

    def carry_out(self, transition: Transition) -> None:
        ports: dict[str, WorkerPort] = {}
        calls = 0
        for effect in transition.effects:
            try:
                if isinstance(effect, Dispatch):
                    self._dispatch(effect, ports)
                    calls += 1
                    if calls % CALLS_TOGETHER == 0:
                        _flush(ports)
                elif isinstance(effect, Reply):
                    self._desk.answer(effect.ticket, effect.result, None)
                elif isinstance(effect, RunEnded):
                    self._payloads.forget(effect.run_id)
                elif isinstance(effect, Request):
                    self._request(effect)
                elif isinstance(effect, Withdraw):
                    self._withdraw(effect)
            except Exception:
                # What is committed is true all the same, and the other effects must not suffer.
                _log.exception("cannot carry out %s", type(effect).__name__)
        _flush(ports)

    def _request(self, request: Request) -> None:
        if self.requester is not None:  # else its lease ends, and it is ordered again
            self.requester.start(request)

    def _withdraw(self, order: Withdraw) -> None:
        if order.connection_id == SERVER_CONNECTION:
            if self.requester is not None:
                self.requester.withdraw(order.request_id)
            return
        worker = self._desk.worker(order.connection_id)
        if worker is not None:
            worker.port.withdraw(order.request_id)

    def _dispatch(self, call: Dispatch, ports: dict[str, WorkerPort]) -> None:
        worker = self._desk.worker(call.connection_id)
        if worker is None:
            return  # it left during the commit; that fact gives the call to another worker
        if isinstance(worker, AttachedApp):
            worker.port.post_call(partial(self._make_call, call, self._http_calls.encode))
            return
        worker.port.send_call(partial(self._make_call, call, self._connect_calls.encode))
        ports[call.connection_id] = worker.port

    def _make_call(self, call: Dispatch, encode: Encode[_T]) -> _T | None:
        if not self._desk.is_out(call.request_id):
            return None
        try:
            entry = self._desk.by_no(call.function_no)
            assert entry is not None, "functions are archived, never deleted"
            payload = self._payloads.of_run(call.run_id, call.event_id)
            return encode(call, entry, payload)
        except Exception:
            # Its lease ends in time, and it is given out again. Other calls must not suffer.
            _log.exception("cannot make a call", extra={"run": ulid_text(call.run_id)})
            return None


def _flush(ports: dict[str, WorkerPort]) -> None:
    for port in ports.values():
        port.flush()
    ports.clear()
