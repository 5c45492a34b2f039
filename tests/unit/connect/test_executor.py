"""Running calls: on the caller's loop, on threads, with state that was too large to send."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.client import Client
from stepwell.connect.executor import Executor, Target
from stepwell.connect.http import ServerUnreachable
from stepwell.errors import RetryAfterError, StepwellError
from stepwell.outcome import UNTOLD
from stepwell.triggers import TriggerEvent
from stepwell.wire.ids import hash_step_id
from tests.unit.connect.gateway import call_body, request
from tests.unit.connect.loop import on_loop

if TYPE_CHECKING:
    from stepwell.context import Context, ContextSync
    from stepwell.event import EventType
    from stepwell.outcome import Outcome
    from stepwell.wire.connect import GatewayExecutorRequestData

CLIENT = Client(app_id="shop", is_production=False, logger=logging.getLogger("shop"))


class State:
    """State that is fetched; without any, fetching fails."""

    def __init__(
        self, steps: dict[str, Any] | None = None, events: list[Any] | None = None
    ) -> None:
        self._steps = steps
        self._events = events
        self.asked: list[str] = []

    async def steps_of(self, run_id: str) -> dict[str, msgspec.Raw]:
        self.asked.append(f"steps of {run_id}")
        if self._steps is None:
            raise ServerUnreachable("no state")
        return {key: raw(memo) for key, memo in self._steps.items()}

    async def events_of(self, run_id: str) -> list[msgspec.Raw]:
        self.asked.append(f"events of {run_id}")
        return [raw(event) for event in self._events or []]


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


class Bench:
    """An executor for one function, and what its calls ended with."""

    def __init__(
        self, handler: Any, state: State | None = None, event: str | EventType[Any] = "e"
    ) -> None:
        function = CLIENT.create_function(fn_id="ship", trigger=TriggerEvent(event=event))(handler)
        self.outcomes: asyncio.Queue[tuple[str, Outcome | None]] = asyncio.Queue()
        self.caller_gone = threading.Event()
        self.executor = Executor(
            {"shop": {"shop-ship": Target(CLIENT, function)}},
            state=state or State(),
            finished=self._finished,
            caller_gone=self.caller_gone.set,
        )
        self._loop = asyncio.get_running_loop()
        self.executor.begin()

    async def call(self, data: GatewayExecutorRequestData) -> Outcome:
        """What one call ends with."""
        async with asyncio.TaskGroup() as tasks:
            self.executor.bind(tasks)
            self.executor.start(data)
            request_id, outcome = await self.outcomes.get()
        self.executor.stop()
        assert request_id == data.request_id
        assert outcome is not None
        return outcome

    def _finished(self, request_id: str, outcome: Outcome | None) -> None:
        self._loop.call_soon_threadsafe(self.outcomes.put_nowait, (request_id, outcome))


def body_of(outcome: Outcome) -> Any:
    return json.loads(outcome.body)


async def tell(ctx: Context) -> dict[str, Any]:
    """Give back what the context says."""
    return {
        "event": ctx.event.data,
        "events": [event.data for event in ctx.events],
        "run_id": ctx.run_id,
        "attempt": ctx.attempt,
        "logger": getattr(ctx.logger, "name", None),
        "thread": threading.current_thread() is threading.main_thread(),
    }


def tell_sync(ctx: ContextSync) -> dict[str, Any]:
    return {
        "event": ctx.event.data,
        "events": [event.data for event in ctx.events],
        "run_id": ctx.run_id,
        "attempt": ctx.attempt,
        "logger": getattr(ctx.logger, "name", None),
        "thread": threading.current_thread() is threading.main_thread(),
    }


TOLD = {
    "event": {"n": 1},
    "events": [{"n": 1}],
    "run_id": "run-1",
    "attempt": 2,
    "logger": "shop",
}


@on_loop
async def test_async_function_runs_on_the_caller_s_loop() -> None:
    outcome = await Bench(tell).call(request(data={"n": 1}, attempt=2))

    assert body_of(outcome) == {**TOLD, "thread": True}


@on_loop
async def test_sync_function_runs_on_a_thread() -> None:
    outcome = await Bench(tell_sync).call(request(data={"n": 1}, attempt=2))

    assert body_of(outcome) == {**TOLD, "thread": False}


@on_loop
async def test_all_events_of_a_batch_are_given() -> None:
    events = [{"name": "e", "data": {"n": number}} for number in (1, 2)]

    outcome = await Bench(tell).call(request(data={"n": 1}, events=events))

    assert body_of(outcome)["events"] == [{"n": 1}, {"n": 2}]


async def one_step(ctx: Context) -> str:
    return await ctx.step.run("one", lambda: "new") + " result"


def one_step_sync(ctx: ContextSync) -> str:
    return ctx.step.run("one", lambda: "new") + " result"


@on_loop
async def test_step_of_the_request_is_the_target() -> None:
    outcome = await Bench(one_step).call(request(step_id=hash_step_id("other")))

    assert body_of(outcome)["code"] == "step_unexpected"


@on_loop
async def test_request_without_a_step_is_untargeted() -> None:
    outcome = await Bench(one_step).call(request(step_id=None))

    assert body_of(outcome)[0]["data"] == "new"


@on_loop
async def test_unsaid_number_of_attempts_leaves_the_end_to_the_server() -> None:
    async def handler(ctx: Context) -> None:
        await ctx.step.run("fails", lambda: 1 / 0)

    body = json.loads(call_body(attempt=7))
    body["ctx"]["max_attempts"] = None
    outcome = await Bench(handler).call(request(payload=json.dumps(body).encode()))

    assert body_of(outcome)[0]["op"] == "StepError"


@on_loop
async def test_large_state_is_fetched_before_the_function_runs() -> None:
    steps = {hash_step_id("one"): {"data": "old"}}
    for handler in (one_step, one_step_sync):
        state = State(steps)

        outcome = await Bench(handler, state).call(request(use_api=True))

        assert body_of(outcome) == "old result"
        assert state.asked == ["steps of run-1"]  # the events came with the call


@on_loop
async def test_events_are_fetched_if_they_did_not_come() -> None:
    state = State({}, [{"name": "e", "data": {"n": 1}}, {"name": "e", "data": {"n": 2}}])

    outcome = await Bench(tell, state).call(request(use_api=True, events=[]))

    assert body_of(outcome)["events"] == [{"n": 1}, {"n": 2}]
    assert state.asked == ["steps of run-1", "events of run-1"]


@on_loop
async def test_state_that_cannot_be_fetched_is_an_error_that_is_retried() -> None:
    for handler in (one_step, one_step_sync):
        outcome = await Bench(handler).call(request(use_api=True))

        assert body_of(outcome)["code"] == "server_unreachable"
        assert not outcome.no_retry


@on_loop
async def test_request_that_cannot_be_read_is_an_error_that_is_retried() -> None:
    for handler in (one_step, one_step_sync):
        outcome = await Bench(handler).call(request(payload=b"{"))

        assert body_of(outcome)["code"] == "call_invalid"
        assert not outcome.no_retry


@on_loop
async def test_unknown_function_is_an_error_that_is_retried() -> None:
    bench = Bench(one_step)
    outcome = await bench.call(request(function="other"))

    assert body_of(outcome)["code"] == "function_not_found"
    assert not outcome.no_retry
    assert bench.executor.knows_app("shop")
    assert not bench.executor.knows_app("other")


@on_loop
async def test_function_that_lets_a_cancellation_out_has_failed() -> None:
    async def handler(_ctx: Context) -> None:
        raise asyncio.CancelledError

    outcome = await Bench(handler).call(request())

    assert body_of(outcome)["name"] == "CancelledError"
    assert not outcome.no_retry


@on_loop
async def test_cancelled_call_ends_without_an_outcome() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def handler(_ctx: Context) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    bench = Bench(handler)
    async with asyncio.TaskGroup() as tasks:
        bench.executor.bind(tasks)
        bench.executor.start(request())
        await started.wait()
        bench.executor.cancel("req-1")
        bench.executor.cancel("unknown")

        assert await bench.outcomes.get() == ("req-1", None)
    assert stopped.is_set()


@on_loop
async def test_cancel_all_cancels_every_async_call() -> None:
    async def handler(_ctx: Context) -> None:
        await asyncio.Event().wait()

    bench = Bench(handler)
    async with asyncio.TaskGroup() as tasks:
        bench.executor.bind(tasks)
        for number in range(3):
            bench.executor.start(request(f"{number}"))
        bench.executor.cancel_all()

        ended = [await bench.outcomes.get() for _ in range(3)]
    assert ended == [("0", None), ("1", None), ("2", None)]


@on_loop
async def test_call_after_the_end_does_not_run() -> None:
    bench = Bench(one_step)
    async with asyncio.TaskGroup() as tasks:
        bench.executor.bind(tasks)
        other = threading.Thread(target=bench.executor.start, args=(request(),))
        other.start()
        other.join()
        bench.executor.stop()
        bench.executor.start(request("req-2"))
        await asyncio.sleep(0)

    assert bench.outcomes.empty()


def eager(loop: asyncio.AbstractEventLoop, work: Any, **_options: Any) -> asyncio.Future[Any]:
    """A task factory like `asyncio.eager_task_factory` of later Pythons, as far as needed here."""
    try:
        yielded = work.send(None)
    except StopIteration as end:
        done = loop.create_future()
        done.set_result(end.value)
        return done
    assert yielded is None
    return asyncio.Task(work, loop=loop)


@on_loop
async def test_function_does_not_run_within_the_reading_of_its_call() -> None:
    begun: list[str] = []

    async def note(ctx: Context) -> str:
        begun.append(ctx.run_id)
        return "noted"

    asyncio.get_running_loop().set_task_factory(eager)
    bench = Bench(note)
    async with asyncio.TaskGroup() as tasks:
        bench.executor.bind(tasks)

        bench.executor.start(request())

        assert begun == []
        request_id, outcome = await bench.outcomes.get()
    assert request_id == "req-1"
    assert outcome is not None
    assert body_of(outcome) == "noted"
    assert begun == ["run-1"]


@on_loop
async def test_ended_loop_of_the_caller_is_noticed() -> None:
    bench = Bench(one_step)

    async def caller() -> None:
        async with asyncio.TaskGroup() as tasks:
            bench.executor.bind(tasks)

    await asyncio.to_thread(asyncio.run, caller())
    bench.executor.start(request())

    assert bench.caller_gone.is_set()


class Harmful(Exception):
    """An error that nothing can be done with, not even asking whether it is final."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class HarmfulGroup(BaseExceptionGroup):
    """Ends whoever looks for something in it."""

    def subgroup(self, *_args: Any) -> Any:
        raise SystemExit(3)


def harmful_errors() -> list[BaseException]:
    retried = RetryAfterError("later", 1)
    retried.retry_after = "soon"  # type: ignore[assignment]
    coded = StepwellError("m")
    coded.code = []  # type: ignore[assignment]
    return [
        ValueError("file \udcff is bad"),
        Harmful("str"),
        HarmfulGroup("m", [ValueError()]),
        retried,
        coded,
        SystemExit(3),
        GeneratorExit(),
    ]


@pytest.mark.parametrize("place", range(len(harmful_errors())))
@pytest.mark.parametrize("kind", ["async", "sync"])
def test_call_is_reported_whatever_the_function_raises(
    kind: str, place: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "stepwell.connect")  # what it says cannot even be encoded

    async def function(_ctx: Context) -> None:
        raise harmful_errors()[place]

    def function_sync(_ctx: ContextSync) -> None:
        raise harmful_errors()[place]

    @on_loop
    async def run() -> None:
        bench = Bench(function if kind == "async" else function_sync)

        outcome = await bench.call(request())

        assert outcome.kind == "error"
        assert body_of(outcome)["message"] is not None

    run()


@on_loop
async def test_failure_to_tell_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def function(_ctx: Context) -> None:
        raise HarmfulGroup("m", [ValueError()])

    outcome = await Bench(function).call(request())

    assert outcome == UNTOLD
    assert "shop-ship: a call failed in a way that could not be told (run run-1)" in caplog.text


@on_loop
async def test_call_that_no_thread_can_be_had_for_is_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    bench = Bench(tell_sync)
    monkeypatch.setattr(threading.Thread, "start", refuse)

    outcome = await bench.call(request())

    assert body_of(outcome)["message"] == "can't start new thread"
    assert not outcome.no_retry
