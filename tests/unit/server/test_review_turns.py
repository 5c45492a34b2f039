"""Inputs and errands that cannot even be prepared: they are given up, and nobody else waits."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from stepwell.engine.rows import RunStatus
from stepwell.errors import StepwellError
from stepwell.server.lookups import Lookups
from stepwell.store.memory import MemoryStore
from stepwell.wire.ops import parse_ops
from stepwell.wire.outcomes import Ops
from tests.unit.engine.scenario import op, ops, returned
from tests.unit.server.test_runtime import attach, run_test, running, runs, send, sync

if TYPE_CHECKING:
    import pytest

    from stepwell.engine.errands import MatchEvent
    from stepwell.engine.inputs import CallReported, EventMatched
    from stepwell.engine.partition import Partition


def wait_op(event: str = "order/packed") -> dict[str, Any]:
    opts = {"event": event, "timeout": "1h"}
    return op("WaitForEvent", "wait", opts=opts)


def test_a_report_that_cannot_be_looked_up_fails_only_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = Lookups._report

    def broken(self: Lookups, partition: Partition, item: CallReported) -> CallReported:
        if isinstance(item.outcome, Ops):
            raise ValueError("planted")
        return report(self, partition, item)

    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            victim = await port.call()
            await send(runtime)
            other = await port.call()
            monkeypatch.setattr(Lookups, "_report", broken)
            results = await asyncio.gather(
                runtime.report(request_id=victim.request_id, outcome=ops(wait_op())),
                runtime.report(request_id=other.request_id, outcome=returned()),
                return_exceptions=True,
            )
            assert isinstance(results[0], StepwellError)
            assert results[0].code == "internal_error"
            assert results[1] is True
            statuses = sorted(run.status for run in runs(runtime))
            assert statuses == [RunStatus.COMPLETED, RunStatus.FAILED]
            assert len(runtime.reader().quarantined(limit=10)) == 1

    run_test(story)


def test_an_errand_that_cannot_be_looked_up_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    match = Lookups._match

    def broken(
        self: Lookups, partition: Partition, errand_id: bytes, errand: MatchEvent, *rest: Any
    ) -> EventMatched:
        matched = match(self, partition, errand_id, errand, *rest)
        if b"poison" in matched.event_json:
            raise ValueError("planted")
        return matched

    async def story() -> None:
        monkeypatch.setattr(Lookups, "_match", broken)
        async with running(MemoryStore()) as runtime:
            await sync(runtime, {"triggers": [{"event": "order/paid"}, {"event": "order/packed"}]})
            port = attach(runtime)
            await send(runtime)
            call = await port.call()
            waiting = ops(wait_op("order/paid"))
            assert await runtime.report(request_id=call.request_id, outcome=waiting)
            await send(runtime, {"poison": 1})
            call = await port.call()  # the server goes on, and so does what the event started
            assert await runtime.report(request_id=call.request_id, outcome=returned())
            await send(runtime, {"fine": 1})
            names = [(await port.call()).request_payload for _ in range(2)]
            assert any(b"fine" in payload for payload in names)
            (row,) = runtime.reader().quarantined(limit=10)
            assert "MatchEvent" in row.input_repr

    run_test(story)


def test_a_payload_that_nobody_can_read_stops_nothing() -> None:
    """A number that no double holds passes where bytes pass; conditions must read the event."""

    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime, {"fn": "ship"}, {"fn": "pack", "triggers": [{"event": "none"}]})
            port = attach(runtime)
            await send(runtime)
            waiter = await port.call()
            waiting = ops(wait_op("inngest/function.invoked"))
            assert await runtime.report(request_id=waiter.request_id, outcome=waiting)
            await send(runtime)
            caller = await port.call()
            opts = {"function_id": "shop-pack", "payload": {"data": {"n": "?"}}}
            text = json.dumps([op("InvokeFunction", "call", opts=opts)]).replace('"?"', "1e999")
            reported = parse_ops(text.encode())
            outcome = Ops(ops=reported, no_retry=False, retry_at_ms=None, version=2)
            assert await runtime.report(request_id=caller.request_id, outcome=outcome)
            statuses = [run.status for run in runs(runtime)]
            assert RunStatus.FAILED in statuses
            async with asyncio.timeout(5):
                await send(runtime, {"fine": 1})
            assert b"fine" in (await port.call()).request_payload

    run_test(story)
