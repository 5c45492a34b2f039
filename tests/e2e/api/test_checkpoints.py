"""Checkpoints of calls that go on. Numbers: behaviours of checkpointing; SQLite on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

from stepwell.wire.keys import hash_signing_key
from tests.e2e.api.checkpointed import (
    MIB,
    answer,
    checkpoint,
    done,
    memos,
    op,
    path_of,
    refused,
    report,
    step_id,
    taken,
)
from tests.e2e.api.served import serve
from tests.unit.server.gateway.messages import app, function
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.api.served import Call, Served, Worker

KEY = "signkey-test-" + "ab" * 32
A, B, C = (step_id(name) for name in "abc")


@contextlib.asynccontextmanager
async def called(
    tmp_path: Path, **settings: Any
) -> AsyncIterator[tuple[Served, Worker, Call, str]]:
    """A worker with the first call of a run, and the run's event."""
    given = {"in_memory": False, "data_dir": tmp_path / "data", "retry_interval_ms": 1} | settings
    async with serve(**given) as served, served.worker() as worker:
        event_id = await served.send_event()
        yield served, worker, await worker.call(), event_id


@on_loop
async def test_a_step_is_stored_and_the_next_call_has_it(tmp_path: Path) -> None:  # 1
    async with called(tmp_path) as (served, worker, call, event_id):
        await taken(served, call, done("a", {"receipt": "r_81"}))
        assert await memos(served, call) == {A: {"data": {"receipt": "r_81"}}}
        await answer(worker, call, op("Sleep", "nap", name="1ms"))
        later = await worker.call()
        assert later.body["steps"][A] == {"data": {"receipt": "r_81"}}
        assert later.ctx["stack"]["stack"][0] == A
        await worker.finish(later)
        assert (await served.ended(event_id))["status"] == "Completed"


@on_loop
async def test_the_first_value_of_a_step_stays(tmp_path: Path) -> None:  # 2
    async with called(tmp_path) as (served, _, call, _event):
        for value in (1, 1, 2):
            await taken(served, call, done("a", value))
        await taken(served, call, done("a", 3), done("b", 4))
        assert await memos(served, call) == {A: {"data": 1}, B: {"data": 4}}


@on_loop
async def test_a_value_within_one_report_is_the_first_too(tmp_path: Path) -> None:
    async with called(tmp_path) as (served, _, call, _event):
        await taken(served, call, done("a", 1), done("a", 2))
        assert await memos(served, call) == {A: {"data": 1}}


@pytest.mark.parametrize(
    "bad",
    [
        op("Sleep", "x", name="1s"),
        op("StepError", "x", error={"name": "E", "message": "m"}),
        op("StepPlanned", "x"),
        op("WaitForEvent", "x", opts={"event": "e", "timeout": "1s"}),
        op("WaitForSignal", "x", opts={"signal": "s", "timeout": "1s"}),
        op("InvokeFunction", "x", opts={"function_id": "shop-ship"}),
        op("Gateway", "x", opts={"url": "http://127.0.0.1"}),
        op("AIGateway", "x", opts={"url": "http://127.0.0.1"}),
        op("DiscoveryRequest", "x"),
        op("RunComplete", "complete", data=1),
        op("SyncRunComplete", "complete", data=1),
        op("Dance", "x"),
    ],
    ids=lambda bad: bad["op"],
)
def test_what_ends_a_call_is_refused_and_what_came_with_it(
    bad: dict[str, Any], tmp_path: Path
) -> None:  # 3
    @on_loop
    async def check() -> None:
        async with called(tmp_path) as (served, worker, call, event_id):
            for ops in ((done("a"), bad), (bad, done("a"))):
                assert await refused(served, call, *ops) == (400, "op_not_allowed")
            assert await memos(served, call) == {}
            await worker.finish(call)
            assert (await served.ended(event_id))["output"] == "done"

    check()


@on_loop
async def test_a_final_failure_is_a_step_that_is_over(tmp_path: Path) -> None:  # 3, ours
    async with called(tmp_path) as (served, _, call, _event):
        error = {"__serialized": True, "name": "E", "message": "no", "stack": "s"}
        failed = op("StepFailed", "b", error=error, data={"__serialized": True, "name": "E"})
        await taken(served, call, done("a", 1), failed)
        assert await memos(served, call) == {A: {"data": 1}, B: {"error": error}}


@pytest.mark.parametrize("steps", [[], None])
@on_loop
async def test_no_steps_are_fine(steps: Any, tmp_path: Path) -> None:  # 4
    async with called(tmp_path) as (served, _, call, _event):
        await taken(served, call, steps=steps)


@on_loop
async def test_an_unknown_run_is_named_in_the_refusal(tmp_path: Path) -> None:  # 4
    async with called(tmp_path) as (served, _, call, _event):
        unknown = "01K7T09A4B0000000000000000"
        for ops in ((), (done("a"),)):
            found = await refused(served, call, *ops, run_id=unknown)
            assert found == (400, "run_not_found")


@on_loop
async def test_a_run_that_is_over_takes_nothing(tmp_path: Path) -> None:
    async with called(tmp_path) as (served, worker, call, event_id):
        await worker.finish(call)
        await served.ended(event_id)
        assert await refused(served, call, done("a")) == (400, "run_not_found")


@on_loop
async def test_a_cancelled_run_takes_nothing(tmp_path: Path) -> None:
    async with called(tmp_path) as (served, _, call, _event):
        await taken(served, call, done("a"))
        status, _body = await served.request("DELETE", f"/v1/runs/{call.ctx['run_id']}")
        assert status == 200
        assert await refused(served, call, done("b")) == (400, "run_not_found")


@on_loop
async def test_an_output_has_a_size_and_what_is_beside_it_does_not_count(
    tmp_path: Path,
) -> None:  # 5
    async with called(tmp_path) as (served, _, call, _event):
        most = "x" * (4 * MIB - 2)
        # What TypeScript 4.24 sends besides: the step's arguments, and what it keeps of it.
        beside = {
            "mode": "async",
            "rawArgs": ["a", None, "y" * (5 * MIB)],
            "hashedId": A,
            "fulfilled": True,
            "promise": {},
            "hasStepState": False,
            "handled": True,
            "middleware": {"stepInfo": {"hashedId": A, "memoized": False, "stepType": "run"}},
            "memoizationDeferred": {},
            "transformedResultPromise": {},
            "opts": {},
            "timing": {"a": 1_767_225_600_130_000_000, "b": 0},
        }
        large = await refused(served, call, done("b"), done("a", most + "x"))
        assert large == (413, "step_output_too_large")
        assert await memos(served, call) == {}
        await taken(served, call, done("a", most, **beside))
        assert list(await memos(served, call)) == [A]


@on_loop
async def test_all_outputs_together_have_a_size(tmp_path: Path) -> None:  # 5
    async with called(tmp_path) as (served, worker, call, event_id):
        many = [done(f"s{number}", "x" * (3 * MIB)) for number in range(11)]
        assert await refused(served, call, *many) == (413, "run_state_too_large")
        assert await memos(served, call) == {}
        await taken(served, call, *many[:10])
        assert await refused(served, call, *many[9:]) == (413, "run_state_too_large")
        await taken(served, call, *many[:10], done("small"))  # what is stored counts once
        await worker.finish(call)
        assert (await served.ended(event_id))["status"] == "Completed"


@on_loop
async def test_a_body_has_a_size(tmp_path: Path) -> None:
    async with called(tmp_path) as (served, _, call, _event):
        status, body = await checkpoint(served, call, done("a"), ts="x" * (64 * MIB))
        assert (status, msgspec.json.decode(body)["code"]) == (413, "request_too_large")
        assert await memos(served, call) == {}


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {KEY}",  # Go
        f"Bearer signkey-test-{hash_signing_key(KEY)}",
        f"Bearer {hash_signing_key(KEY)}",
        "Bearer " + "ab" * 32,
    ],
)
def test_the_key_opens_plain_and_hashed(authorization: str) -> None:  # 6
    @on_loop
    async def check() -> None:
        start = {"mode": "start", "host": "127.0.0.1", "event_keys": ("key",)}
        headers = {"Authorization": authorization}
        async with (
            serve(**start, signing_key=KEY) as served,
            served.worker(headers={"Authorization": f"Bearer {KEY}"}) as worker,
        ):
            await served.send_event()
            call = await worker.call()
            for prefix in ("/v1/checkpoint", "/v1/http/runs"):
                path, body = path_of(call, prefix), report(call, done("a"))
                assert await served.request("POST", path, body, **headers) == (200, b"")
                for wrong in ({}, {"Authorization": "Bearer signkey-test-" + "cd" * 32}):
                    found = await served.request("POST", path, body, **wrong)
                    assert found == (401, b"Authentication failed")

    check()


async def retried(served: Served, worker: Worker, call: Call) -> Call:
    """The call fails and is given out again."""
    await answer(worker, call, op("StepError", "s", error={"name": "E", "message": "m"}))
    again = await worker.call()
    assert again.ctx["job_id"] == call.ctx["job_id"]
    assert again.ctx["generation_id"] == call.ctx["generation_id"] + 1
    return again


@pytest.mark.parametrize("age_ms", [3_600_000, 1_000, 0, -3_600_000, None])
def test_a_call_that_was_given_out_again_is_stale_at_any_age(
    age_ms: int | None, tmp_path: Path
) -> None:  # 7, ours
    @on_loop
    async def check() -> None:
        async with called(tmp_path) as (served, worker, call, _event):
            again = await retried(served, worker, call)
            now_ms = time.time_ns() // 1_000_000
            started = None if age_ms is None else now_ms - age_ms
            bare = {"request_id": None, "generation_id": None}
            for fields in (
                {},
                {"request_id": None},
                bare,
                {"generation_id": None},
                {"qi_id": None},
            ):
                given = {"request_started_at": started} | fields
                found = await refused(served, call, done("a"), **given)
                assert found == (409, "stale_dispatch"), fields
            assert await memos(served, call) == {}
            await taken(served, again, done("a"), request_started_at=started)

    check()


@on_loop
async def test_go_names_its_job_alone(tmp_path: Path) -> None:  # 7
    async with called(tmp_path) as (served, worker, call, _event):
        bare = {"request_id": None, "generation_id": None, "request_started_at": None, "ts": None}
        await taken(served, call, done("a"), **bare)
        again = await retried(served, worker, call)
        assert await refused(served, call, done("b"), **bare) == (409, "stale_dispatch")
        await taken(served, again, done("b"), **bare)
        await taken(served, again, done("c"), **bare, qi_id="")
        assert list(await memos(served, call)) == [A, B, C]


@pytest.mark.parametrize(
    "fields",
    [
        {"request_id": "01K7T09A4B0000000000000000"},
        {"request_id": "nonsense"},
        {"request_id": None, "generation_id": 7},
        {"request_id": None, "qi_id": "nonsense"},
        {"request_id": None, "qi_id": "M2Y5YWMxOjpkZWZhdWx0"},
        {"request_id": None, "qi_id": "{run}-9-1"},
        {"request_id": None, "qi_id": "{run}-0"},
        {"request_id": None, "qi_id": "{run}-0-" + "9" * 5_000},
    ],
    ids=str,
)
def test_a_call_that_there_is_not_is_stale(
    fields: dict[str, Any], tmp_path: Path
) -> None:  # 8, ours
    @on_loop
    async def check() -> None:
        async with called(tmp_path) as (served, _, call, _event):
            given = {
                name: value.replace("{run}", call.ctx["run_id"]) if name == "qi_id" else value
                for name, value in fields.items()
            }
            assert await refused(served, call, done("a"), **given) == (409, "stale_dispatch")
            assert await memos(served, call) == {}

    check()


@on_loop
async def test_a_call_that_is_over_is_stale(tmp_path: Path) -> None:  # 8
    async with called(tmp_path) as (served, worker, call, _event):
        await answer(worker, call, op("Sleep", "nap", name="1h"))
        for fields in ({}, {"request_id": None}, {"request_id": None, "qi_id": None}):
            assert await refused(served, call, done("b"), **fields) == (409, "stale_dispatch")


@pytest.mark.parametrize("prefix", ["/v1/checkpoint", "/v1/http/runs"])
def test_the_run_of_the_body_counts(prefix: str, tmp_path: Path) -> None:  # 9
    @on_loop
    async def check() -> None:
        async with called(tmp_path) as (served, _, call, _event):
            for run in ("01K7T09A4B0000000000000000", "nonsense"):
                path = f"{prefix}/{run}/async"
                assert await served.request("POST", path, report(call, done("a"))) == (200, b"")
            status, body = await served.request(
                "POST", path_of(call, prefix), report(call, run_id="nonsense")
            )
            error = msgspec.json.decode(body)
            assert (status, error["code"], error["data"]) == (400, "checkpoint_invalid", None)
            assert list(await memos(served, call)) == [A]

    check()


@on_loop
async def test_entries_of_metadata_do_not_matter(tmp_path: Path) -> None:  # 11
    async with called(tmp_path) as (served, _, call, _event):
        entry = {"scope": "step", "kind": "k" * 129, "op": "merge", "values": {"n": 1}}
        given: list[Any] = [[entry], [], None, 7, {"kind": []}, [None, entry]]
        for number, metadata in enumerate(given):
            await taken(served, call, done(f"s{number}", number, metadata=metadata))
        assert len(await memos(served, call)) == 6


@on_loop
async def test_a_caller_that_goes_away_is_not_missed(tmp_path: Path) -> None:  # 11
    async with called(tmp_path) as (served, _, call, _event):
        address = urlsplit(served.server.api_url)
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        body = report(call, done("a", "kept"))
        head = f"POST {path_of(call)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()
        async with asyncio.timeout(5):
            while await memos(served, call) == {}:
                pass  # each look is a request of its own
        assert await memos(served, call) == {A: {"data": "kept"}}


@on_loop
async def test_many_copies_at_once_are_one(tmp_path: Path) -> None:
    async with called(tmp_path) as (served, worker, call, event_id):
        batch = [done(name, name) for name in ("a", "b", "c")]
        found = await asyncio.gather(*[checkpoint(served, call, *batch) for _ in range(20)])
        assert found == [(200, b"")] * 20
        assert await memos(served, call) == {step_id(n): {"data": n} for n in ("a", "b", "c")}
        await worker.finish(call)
        run = await served.ended(event_id)
        trace = await served.get(f"/v2/runs/{run['run_id']}/trace")
        names = [span["name"] for span in trace["data"]["rootSpan"]["children"]]
        assert names == ["a", "b", "c", "Finalization"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b"\xff\xfe",
        b"{}",
        b'{"run_id":null,"steps":[]}',
        b'{"run_id":7,"steps":[]}',
        b'{"run_id":"","steps":[]}',
    ],
)
def test_a_body_that_names_no_run_is_refused(body: bytes, tmp_path: Path) -> None:
    @on_loop
    async def check() -> None:
        async with called(tmp_path) as (served, _, call, _event):
            status, answered = await served.request("POST", path_of(call), body)
            error = msgspec.json.decode(answered)
            assert (status, error["code"]) == (400, "checkpoint_invalid")
            assert (error["data"], error["status"]) == (None, 400)
            assert error["error"].startswith("invalid request body: ")

    check()


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 7},
        {"steps": "a"},
        {"steps": [7]},
        {"steps": [[]]},
        {"steps": [{"op": "StepRun"}]},
        {"steps": [{"op": "StepRun", "id": 7}]},
        {"steps": [{"op": 7, "id": "a"}]},
        {"steps": [{"id": "a"}]},
        {"steps": [op("StepFailed", "a", error="no")]},
        {"steps": [done("a"), {"op": "StepRun", "id": "b", "userland": 7}]},
        {"steps": [{"op": "StepRun", "id": "i" * 513}]},
        {"generation_id": "1"},
        {"generation_id": 1.5},
        {"request_id": 7},
        {"qi_id": 7},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_wrong_types_are_refused_whole(fields: dict[str, Any], tmp_path: Path) -> None:
    @on_loop
    async def check() -> None:
        async with called(tmp_path) as (served, _, call, _event):
            status, body = await checkpoint(served, call, **({"steps": [done("a")]} | fields))
            assert (status, msgspec.json.decode(body)["code"]) == (400, "checkpoint_invalid")
            assert await memos(served, call) == {}

    check()


@on_loop
async def test_letter_case_and_null_are_as_in_answers(tmp_path: Path) -> None:
    async with called(tmp_path) as (served, _, call, _event):
        given = {"OP": "steprun", "Id": A, "DisplayName": None, "DATA": 1, "error": None}
        nothing = {"op": "None", "id": ""}
        await taken(served, call, given, nothing, fn_id="nonsense", extra={"more": [1]})
        assert await memos(served, call) == {A: {"data": 1}}


@on_loop
async def test_a_thousand_steps_come_in_one_report(tmp_path: Path) -> None:
    async with called(tmp_path) as (served, _, call, _event):
        many = [done(f"s{number}", number) for number in range(1_001)]
        assert await refused(served, call, *many) == (413, "ops_too_many")
        await taken(served, call, *many[:1_000])
        assert len(await memos(served, call)) == 1_000


@pytest.mark.parametrize("max_runtime", ["10s", "1d30m", 10_000_000_000, 0, None])
def test_its_configuration_is_taken_as_text_and_in_nanoseconds(
    max_runtime: Any, tmp_path: Path
) -> None:
    @on_loop
    async def check() -> None:
        given = {"in_memory": False, "data_dir": tmp_path / "data"}
        config = {"batch_steps": 3, "batch_interval": "3s", "max_runtime": max_runtime}
        shop = app(functions=[function(checkpoint=config)])
        async with serve(**given) as served, served.worker(shop) as worker:
            await served.send_event()
            await taken(served, await worker.call(), done("a"))

    check()
