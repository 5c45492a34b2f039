"""A store's content in few words: an app, its function, events, runs."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.engine.rows import (
    PutApp,
    PutEvent,
    PutFunction,
    PutHistory,
    PutRun,
    PutStep,
    RunStatus,
    StepKind,
    UpdateRun,
)
from stepwell.wire.ids import EventId, RunId, app_uuid, function_uuid, ulid_bytes, ulid_text
from tests.unit.server.gateway.messages import function

T0_MS = 1_790_000_000_000
"""2026-09-21T14:13:20Z."""


def event_id(n: int, *, ms: int = T0_MS) -> EventId:
    return EventId(ulid_bytes(ms, n.to_bytes(10, "big")))


def run_id(n: int, *, ms: int = T0_MS + 5) -> RunId:
    return RunId(ulid_bytes(ms + n, n.to_bytes(10, "big")))


def text(raw: bytes) -> str:
    return ulid_text(raw)


APP = PutApp(
    name="shop",
    app_id=app_uuid("shop"),
    url="ws://connect?app_name=shop",
    sdk="py:0.5.19",
    framework="connect",
    app_version="v1",
    checksum="c",
    method="connect",
    synced_at_ms=T0_MS,
)


def put_function(no: int = 1, slug: str = "shop-ship", **more: Any) -> PutFunction:
    return PutFunction(
        no=no,
        function_id=function_uuid("shop", slug),
        app_name="shop",
        slug=slug,
        version=1,
        config=msgspec.json.encode(function(slug)),
        created_at_ms=T0_MS,
        **more,
    )


def put_event(n: int = 1, *, runs: tuple[RunId, ...] = (), **fields: Any) -> PutEvent:
    given: dict[str, Any] = {
        "name": "shop/order.paid",
        "ts_ms": T0_MS,
        "data": b'{"order":7}',
    } | fields
    return PutEvent(event_id=event_id(n), runs=runs, **given)


def put_run(n: int = 1, *, function_no: int = 1) -> PutRun:
    return PutRun(
        run_id=run_id(n), function_no=function_no, event_id=event_id(1), status=RunStatus.SCHEDULED
    )


def running(n: int = 1) -> UpdateRun:
    return UpdateRun(run_id=run_id(n), status=RunStatus.RUNNING, started_at_ms=T0_MS + 100)


def ended(
    n: int = 1, status: RunStatus = RunStatus.COMPLETED, output: bytes = b'{"ok":true}'
) -> UpdateRun:
    return UpdateRun(
        run_id=run_id(n),
        status=status,
        started_at_ms=T0_MS + 100,
        ended_at_ms=T0_MS + 1_100,
        output=output,
    )


def step(
    position: int = 0,
    *,
    n: int = 1,
    name: str = "charge",
    kind: StepKind = StepKind.RUN,
    data: bytes = b'{"n":1}',
    attempt: int = 0,
) -> PutStep:
    return PutStep(
        run_id=run_id(n),
        step_id=f"{position:040x}",
        position=position,
        kind=kind,
        name=name,
        data=data,
        attempt=attempt,
        started_at_ms=T0_MS + 200 + 10 * position,
        ended_at_ms=T0_MS + 205 + 10 * position,
    )


def history(seq: int, kind: Any, *, n: int = 1, **fields: Any) -> PutHistory:
    given: dict[str, Any] = {
        "step_id": None,
        "name": None,
        "attempt": 0,
        "at_ms": T0_MS + 150,
    } | fields
    return PutHistory(run_id=run_id(n), seq=seq, kind=kind, **given)


SHOP = (APP, put_function(), put_function(2, "shop-refund"))
"""An app with two functions."""
