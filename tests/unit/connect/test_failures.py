"""What the worker's log says of calls that went wrong."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.connect import failures
from stepwell.errors import NonRetriableError
from stepwell.event import EventType
from stepwell.wire.ids import hash_step_id
from tests.unit.connect.gateway import request
from tests.unit.connect.loop import on_loop
from tests.unit.connect.test_executor import Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.context import Context, ContextSync


def fail() -> None:
    raise ValueError("no stock")


def refuse() -> None:
    raise NonRetriableError("no such order")


async def step_fails(ctx: Context) -> None:
    await ctx.step.run("charge", fail)


def step_fails_sync(ctx: ContextSync) -> None:
    ctx.step.run("charge", fail)


async def step_refuses(ctx: Context) -> None:
    await ctx.step.run("charge", refuse)


async def function_fails(_ctx: Context) -> None:
    fail()


def function_fails_sync(_ctx: ContextSync) -> None:
    fail()


async def lets_a_cancellation_out(_ctx: Context) -> None:
    raise asyncio.CancelledError


async def returns_what_has_no_json(_ctx: Context) -> object:
    return object()


async def succeeds(ctx: Context) -> int:
    return await ctx.step.run("charge", int)


AGAIN, FINAL = logging.WARNING, logging.ERROR


@pytest.mark.parametrize(
    ("handler", "attempt", "level", "message"),
    [
        (step_fails, 0, AGAIN, "shop-ship: step 'charge' failed on attempt 0 and will be"),
        (
            step_fails_sync,
            0,
            AGAIN,
            "shop-ship: step 'charge' failed on attempt 0 and will be",
        ),
        (step_fails, 3, FINAL, "shop-ship: step 'charge' failed on attempt 3 and is not"),
        (step_refuses, 0, FINAL, "shop-ship: step 'charge' failed on attempt 0 and is not"),
        (
            function_fails,
            1,
            AGAIN,
            "shop-ship failed on attempt 1 and will be tried again, up to 2 more",
        ),
        (
            function_fails,
            2,
            AGAIN,
            "shop-ship failed on attempt 2 and will be tried again, once more",
        ),
        (
            function_fails_sync,
            3,
            FINAL,
            "shop-ship failed on attempt 3 and is not tried again (run run-1)",
        ),
        (lets_a_cancellation_out, 0, AGAIN, "shop-ship failed on attempt 0 and will be"),
        (returns_what_has_no_json, 0, FINAL, "shop-ship failed on attempt 0 and is not tried"),
    ],
)
def test_failed_attempt_is_one_record(
    caplog: pytest.LogCaptureFixture,
    handler: Callable[[Any], Any],
    attempt: int,
    level: int,
    message: str,
) -> None:
    @on_loop
    async def run() -> None:
        await Bench(handler).call(request(attempt=attempt))

    run()

    [record] = caplog.records
    assert (record.name, record.levelno) == ("stepwell.connect", level)
    assert record.getMessage().startswith(message)
    assert record.getMessage().endswith("(run run-1)")
    assert record.exc_info


@on_loop
async def test_traceback_begins_with_the_program_s_own_code(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await Bench(step_fails).call(request())

    assert "ValueError: no stock" in caplog.text
    assert 'raise ValueError("no stock")' in caplog.text
    assert "stepwell/step.py" not in caplog.text


@on_loop
async def test_success_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "stepwell")

    await Bench(succeeds).call(request())

    assert caplog.records == []


@on_loop
async def test_error_of_a_remembered_step_is_not_told_a_second_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = {
        hash_step_id("charge"): {
            "error": {"name": "ValueError", "message": "no stock", "stack": "Traceback ..."}
        }
    }

    await Bench(succeeds).call(request(steps=steps))

    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        "shop-ship failed: it did not catch the failure of a step, ValueError: no stock (run run-1)"
    )
    assert not record.exc_info


@on_loop
async def test_call_that_cannot_begin_is_told(caplog: pytest.LogCaptureFixture) -> None:
    for handler in (step_fails, step_fails_sync):
        caplog.clear()

        await Bench(handler).call(request(payload=b"{"))

        [record] = caplog.records
        assert record.levelno == logging.WARNING
        assert record.getMessage().startswith("shop-ship: a call could not begin")


@dataclass
class Order:
    total: int


async def takes_an_order(_ctx: Context[Order]) -> None:
    return


def takes_an_order_sync(_ctx: ContextSync[Order]) -> None:
    return


@pytest.mark.parametrize("handler", [takes_an_order, takes_an_order_sync])
def test_event_that_does_not_fit_is_not_said_to_be_tried_again(
    caplog: pytest.LogCaptureFixture, handler: Any
) -> None:
    @on_loop
    async def run() -> None:
        await Bench(handler, event=EventType("order/paid", Order)).call(
            request(data={"total": "x"})
        )

    run()

    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("shop-ship failed and is not tried again: the data of")
    assert not record.exc_info


# --- step ids that change ---


OLD = {hash_step_id(name): {"data": 1} for name in ("id-1", "id-2")}
CHANGED = (
    "shop-ship: step 'charge' is new although 2 steps are remembered and none of them was met; "
    "step ids must not change between calls (run run-1)"
)


async def charge(ctx: Context) -> None:
    await ctx.step.run("charge", int)


async def sleep(ctx: Context) -> None:
    await ctx.step.sleep("charge", 1)


def charge_sync(ctx: ContextSync) -> None:
    ctx.step.run("charge", int)


@pytest.mark.parametrize("handler", [charge, sleep])
def test_changing_step_ids_are_told_once_a_run(
    caplog: pytest.LogCaptureFixture, handler: Any
) -> None:
    @on_loop
    async def run() -> None:
        bench = Bench(handler)
        await bench.call(request(steps=OLD, step_id=None))
        await bench.call(request(steps=OLD, step_id=None))

    run()

    assert [record.getMessage() for record in caplog.records] == [CHANGED]
    assert caplog.records[0].levelno == logging.WARNING


@on_loop
async def test_changing_step_ids_of_a_sync_function_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await Bench(charge_sync).call(request(steps=OLD, step_id=None))

    assert [record.getMessage() for record in caplog.records] == [CHANGED]


@on_loop
async def test_runs_that_were_told_are_forgotten_in_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "RUNS_REMEMBERED_MAX", 1)
    bench = Bench(charge)

    for run_id in ("one", "two", "two", "one"):
        await bench.call(request(steps=OLD, run_id=run_id, step_id=None))

    assert len(caplog.records) == 3


async def group_with_a_new_branch(ctx: Context) -> None:
    await ctx.group.parallel((lambda: ctx.step.run("new", int), lambda: ctx.step.run("id-1", int)))


async def remembered_then_new(ctx: Context) -> None:
    await ctx.step.run("id-1", int)
    await ctx.step.run("new", int)


async def ends(_ctx: Context) -> None:
    return


@pytest.mark.parametrize(
    ("handler", "call"),
    [
        (charge, {}),
        (group_with_a_new_branch, {"steps": OLD}),
        (group_with_a_new_branch, {"steps": OLD, "step_id": hash_step_id("new")}),
        (remembered_then_new, {"steps": OLD}),
        (ends, {"steps": OLD}),
    ],
)
def test_step_ids_that_stay_say_nothing(
    caplog: pytest.LogCaptureFixture, handler: Any, call: dict[str, Any]
) -> None:
    @on_loop
    async def run() -> None:
        await Bench(handler).call(request(**{"step_id": None, **call}))

    run()

    assert caplog.records == []
