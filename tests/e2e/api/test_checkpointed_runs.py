"""Runs whose calls reported steps before they ended: what comes after, by a raw worker."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.wire.connect import Kind
from tests.e2e.api.checkpointed import answer, done, memos, op, refused, step_id, taken
from tests.e2e.api.served import serve
from tests.unit.server.gateway.messages import ack, app, function, reply
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.api.served import Call, Served, Worker

ERROR = {"name": "E", "message": "no stock"}
COMPLETE = {"op": "RunComplete", "id": step_id("complete"), "name": "complete", "data": "end"}
DEFERRED = "event.data._inngest.fn_slug == 'shop-tidy'"
A, B, C = (step_id(name) for name in "abc")

FUNCTIONS = (
    function(),
    function(
        "shop-tidy", triggers=[{"event": "inngest/deferred.schedule", "expression": DEFERRED}]
    ),
)


@contextlib.asynccontextmanager
async def called(tmp_path: Path, retries: int = 4) -> AsyncIterator[Any]:
    """Server, worker, the first call of a run, and the run's event."""
    ship = function()
    ship["steps"]["step"]["retries"] = {"attempts": retries}
    shop = app(functions=[ship, FUNCTIONS[1]])
    given = {"in_memory": False, "data_dir": tmp_path / "data", "retry_interval_ms": 1}
    async with serve(**given) as served, served.worker(shop) as worker:
        event_id = await served.send_event()
        yield served, worker, await worker.call(), event_id


async def spans(served: Served, run: dict[str, Any]) -> list[str]:
    trace = await served.get(f"/v2/runs/{run['run_id']}/trace")
    return [span["name"] for span in trace["data"]["rootSpan"]["children"]]


async def raises(worker: Worker, call: Call) -> None:
    """The function fails."""
    body = msgspec.json.encode(ERROR)
    await worker.send(ack(call.id), reply(call.id, status=2, body=body))
    await worker.receive(Kind.WORKER_REPLY_ACK)


@on_loop
async def test_the_value_alone_ends_it(tmp_path: Path) -> None:  # Go
    async with called(tmp_path) as (served, worker, call, event_id):
        await taken(served, call, done("a"))
        await taken(served, call, done("b"))
        await worker.finish(call)
        run = await served.ended(event_id)
        assert (run["status"], run["output"]) == ("Completed", "done")
        assert await spans(served, run) == ["a", "b", "Finalization"]
        assert await worker.is_idle()


@on_loop
async def test_what_was_buffered_comes_with_the_end(tmp_path: Path) -> None:  # 13
    async with called(tmp_path) as (served, worker, call, event_id):
        await taken(served, call, done("a", 1))
        # Steps that were reported before may come again.
        await answer(worker, call, done("a", 2), done("b"), done("c"), COMPLETE)
        run = await served.ended(event_id)
        assert (run["status"], run["output"]) == ("Completed", "end")
        assert await spans(served, run) == ["a", "b", "c", "Finalization"]
        assert await worker.is_idle()


@on_loop
async def test_what_was_buffered_and_no_end_leads_to_another_call(tmp_path: Path) -> None:  # Go
    async with called(tmp_path) as (served, worker, call, event_id):
        await taken(served, call, done("a", 1))
        await answer(worker, call, done("b", 2))
        later = await worker.call()
        assert list(later.body["steps"]) == [A, B]
        assert later.ctx["stack"] == {"stack": [A, B], "current": 2}
        assert later.ctx["disable_immediate_execution"] is False
        await worker.finish(later)
        assert (await served.ended(event_id))["output"] == "done"


@pytest.mark.parametrize("failed_first", [0, 2])
def test_a_step_after_a_checkpoint_has_all_its_attempts(failed_first: int, tmp_path: Path) -> None:
    @on_loop
    async def check() -> None:
        async with called(tmp_path, retries=2) as (served, worker, call, event_id):
            # The first step succeeds in its last attempt,
            for attempt in range(failed_first):
                assert call.ctx["attempt"] == attempt
                await answer(worker, call, op("StepError", "a", error=ERROR))
                call = await worker.call()
            assert call.ctx["attempt"] == failed_first
            await taken(served, call, done("a"))
            # and the second one has three all the same.
            for attempt in range(3):
                await answer(worker, call, op("StepError", "b", error=ERROR))
                call = await worker.call()
                assert call.ctx["attempt"] == (attempt + 1) % 3
                assert call.body["steps"][A] == {"data": None}
            assert call.body["steps"][B]["error"]["message"] == "no stock"
            await worker.finish(call)
            assert (await served.ended(event_id))["status"] == "Completed"

    check()


@on_loop
async def test_a_repeat_gives_no_attempt_back(tmp_path: Path) -> None:
    async with called(tmp_path, retries=1) as (served, worker, call, event_id):
        await taken(served, call, done("a"))
        await answer(worker, call, op("StepError", "b", error=ERROR))
        call = await worker.call()
        await taken(served, call, done("a"))  # as an SDK that missed the first answer
        assert call.ctx["attempt"] == 1
        await answer(worker, call, op("StepError", "b", error=ERROR))
        call = await worker.call()
        assert call.body["steps"][B]["error"]["message"] == "no stock"
        await worker.finish(call)
        assert (await served.ended(event_id))["status"] == "Completed"


@on_loop
async def test_a_function_that_fails_keeps_what_was_reported(tmp_path: Path) -> None:
    async with called(tmp_path, retries=1) as (served, worker, call, event_id):
        await taken(served, call, done("a", 1))
        await raises(worker, call)
        call = await worker.call()
        assert call.body["steps"] == {A: {"data": 1}}
        assert call.ctx["attempt"] == 1
        await raises(worker, call)
        assert (await served.ended(event_id))["status"] == "Failed"


@on_loop
async def test_a_final_failure_after_a_checkpoint_is_a_memo(tmp_path: Path) -> None:
    async with called(tmp_path) as (served, worker, call, event_id):
        await taken(served, call, done("a"))
        await answer(worker, call, op("StepFailed", "b", error=ERROR), no_retry=True)
        call = await worker.call()
        assert call.ctx["attempt"] == 0
        assert call.body["steps"][B]["error"]["message"] == "no stock"
        await worker.finish(call)
        assert (await served.ended(event_id))["status"] == "Completed"


@on_loop
async def test_parallel_steps_are_planned_and_checkpoints_go_on_after_them(
    tmp_path: Path,
) -> None:  # 15
    async with called(tmp_path) as (served, worker, call, event_id):
        await taken(served, call, done("a"))
        await answer(worker, call, op("StepPlanned", "b"), op("StepPlanned", "c"))
        branches: list[Call] = [await worker.call(), await worker.call()]
        assert sorted(each.fields.step_id for each in branches) == sorted([B, C])
        for each in branches:
            assert each.ctx["disable_immediate_execution"] is True
            name = "b" if each.fields.step_id == B else "c"
            await answer(worker, each, done(name))
        call = await worker.call()
        assert call.ctx["disable_immediate_execution"] is False
        assert set(call.body["steps"]) == {A, B, C}
        await taken(served, call, done("d"))
        await worker.finish(call)
        assert (await served.ended(event_id))["status"] == "Completed"


@on_loop
async def test_a_sleep_and_a_wait_come_after_checkpoints(tmp_path: Path) -> None:  # 14
    async with called(tmp_path) as (served, worker, call, event_id):
        await taken(served, call, done("a"))
        # Go reports in one answer what is left, and what it waits for.
        await answer(worker, call, done("b"), op("Sleep", "nap", name="1ms"))
        call = await worker.call()
        assert set(call.body["steps"]) == {A, B, step_id("nap")}
        await taken(served, call, done("c"))
        wanted = {"event": "approved", "timeout": "1h"}
        await answer(worker, call, op("WaitForEvent", "w", opts=wanted))
        await served.send_event("approved")
        call = await worker.call()
        assert call.body["steps"][step_id("w")]["name"] == "approved"
        await taken(served, call, done("d"))
        await worker.finish(call)
        assert (await served.ended(event_id))["status"] == "Completed"


async def ran_later(worker: Worker) -> dict[str, Any]:
    """The data of the deferred function's event; it is the next call."""
    call = await worker.call()
    assert call.fields.function_slug == "shop-tidy"
    await worker.finish(call)
    data: dict[str, Any] = call.body["event"]["data"]
    data.pop("_inngest")
    return data


@pytest.mark.parametrize("ends", ["completed", "failed"])
def test_what_is_deferred_with_a_checkpoint_starts_once_at_the_end(
    ends: str, tmp_path: Path
) -> None:
    @on_loop
    async def check() -> None:
        async with called(tmp_path, retries=0) as (served, worker, call, event_id):
            later = op("DeferAdd", "later", opts={"fn_slug": "shop-tidy", "input": {"n": 5}})
            for _ in range(2):  # the second time for an answer that was lost
                await taken(served, call, done("a"), later)
            await taken(served, call, later)
            assert await worker.is_idle()
            if ends == "completed":
                await worker.finish(call)
            else:
                await answer(worker, call, op("StepFailed", "b", error=ERROR), later)
                call = await worker.call()
                assert list(call.body["defers"]) == [step_id("later")]
                await raises(worker, call)
            assert await ran_later(worker) == {"n": 5}
            assert (await served.ended(event_id))["status"].lower() == ends
            assert await worker.is_idle()

    check()


@on_loop
async def test_what_is_deferred_may_be_withdrawn(tmp_path: Path) -> None:
    async with called(tmp_path) as (served, worker, call, event_id):
        later = op("DeferAdd", "later", opts={"fn_slug": "shop-tidy", "input": {}})
        abort = op("DeferAbort", "abort", opts={"target_hashed_id": step_id("later")})
        await taken(served, call, done("a"), later)
        await taken(served, call, done("b"), abort)
        await worker.finish(call)
        assert (await served.ended(event_id))["status"] == "Completed"
        assert await worker.is_idle()


@pytest.mark.parametrize("opts", [None, 7, [], {}, {"fn_slug": 7}, {"fn_slug": "s", "input": 7}])
def test_what_cannot_be_deferred_is_left_out(opts: Any, tmp_path: Path) -> None:  # 10
    @on_loop
    async def check() -> None:
        async with called(tmp_path) as (served, worker, call, event_id):
            await taken(served, call, op("DeferAdd", "later", opts=opts), done("a"))
            assert list(await memos(served, call)) == [A]
            await worker.finish(call)
            assert (await served.ended(event_id))["status"] == "Completed"
            assert await worker.is_idle()

    check()


@on_loop
async def test_a_refused_checkpoint_defers_nothing(tmp_path: Path) -> None:
    async with called(tmp_path) as (served, worker, call, event_id):
        later = op("DeferAdd", "later", opts={"fn_slug": "shop-tidy", "input": {}})
        bad = op("Sleep", "nap", name="1s")
        assert await refused(served, call, later, bad) == (400, "op_not_allowed")
        assert await refused(served, call, later, request_id="x") == (409, "stale_dispatch")
        await worker.finish(call)
        assert (await served.ended(event_id))["status"] == "Completed"
        assert await worker.is_idle()
