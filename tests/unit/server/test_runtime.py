"""The runtime over a real store on a real loop: gather, commit, tell; and what failures do."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.engine.partition import Partition
from stepwell.engine.rows import RunStatus
from stepwell.engine.turn import EngineConfig, Turn
from stepwell.errors import Retryable, StepwellError, StoreError, WireError
from stepwell.server.clock import SystemClock
from stepwell.server.deliveries import CALLS_TOGETHER
from stepwell.server.ids import SystemIds
from stepwell.server.runtime import Attached, Runtime
from stepwell.store.committer import Committer
from stepwell.store.memory import MemoryStore
from stepwell.wire.calls import decode_call
from stepwell.wire.connect import GatewayExecutorRequestData
from stepwell.wire.events import EventSeed, parse_events
from stepwell.wire.functions import parse_register
from stepwell.wire.ids import RequestId, parse_ulid
from tests.unit.engine.scenario import function_config, op, ops, ran, returned, step_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from stepwell.engine.effects import Transition
    from stepwell.engine.inputs import Input
    from stepwell.engine.rows import Write
    from stepwell.server.runtime import MakeCall
    from stepwell.store.interface import RunRecord
    from stepwell.wire.functions import Registration


class FailingStore(MemoryStore):
    """A memory store whose commits fail while `failures` is above zero."""

    failures = 0

    def commit(self, writes: Sequence[Write]) -> None:
        if self.failures:
            self.failures -= 1
            raise Retryable("the disk is full")
        super().commit(writes)


class JumpingClock(SystemClock):
    """A clock that can be set forward."""

    ahead_ms = 0
    jumped_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms

    def take_jump_ms(self) -> int:
        jumped_ms, self.jumped_ms = self.jumped_ms, 0
        return jumped_ms

    def jump(self, ms: int) -> None:
        self.ahead_ms = self.jumped_ms = ms


class Port:
    """A connection: keeps the calls that were flushed."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[GatewayExecutorRequestData] = asyncio.Queue()
        self.flushes = 0
        self._unsent: list[MakeCall] = []
        self.withdrawn: list[RequestId] = []

    def send_call(self, make: MakeCall) -> None:
        self._unsent.append(make)

    def flush(self) -> None:
        self.flushes += 1
        for make in self._unsent:
            made = make()
            if made is not None:
                self.calls.put_nowait(GatewayExecutorRequestData.FromString(made[1]))
        self._unsent.clear()

    def withdraw(self, request_id: RequestId) -> None:
        self.withdrawn.append(request_id)

    async def call(self) -> GatewayExecutorRequestData:
        async with asyncio.timeout(5):
            return await self.calls.get()


@asynccontextmanager
async def running(
    store: MemoryStore,
    *,
    clock: SystemClock | None = None,
    admit: Callable[[Registration], None] = lambda _registration: None,
    **config: Any,
) -> AsyncIterator[Runtime]:
    loop = asyncio.get_running_loop()
    runtime = Runtime(
        store=store,
        committer=Committer(store, loop),
        config=EngineConfig(**{"retry_interval_ms": 10, **config}),
        ids=SystemIds(),
        clock=clock or SystemClock(),
        loop=loop,
        admit=admit,
    )
    runtime.start()
    try:
        yield runtime
    finally:
        await runtime.close()


async def sync(runtime: Runtime, *functions: dict[str, Any]) -> None:
    body: dict[str, Any] = {
        "appName": "shop",
        "url": "ws://connect",
        "functions": [function_config("shop", **each) for each in functions or ({},)],
    }
    await runtime.register(parse_register(msgspec.json.encode(body)))


def attach(runtime: Runtime, connection: str = "c1", limit: int | None = None) -> Port:
    port = Port()
    runtime.attach(
        Attached(
            connection_id=connection,
            instance_id=connection,
            limit=limit,
            functions=frozenset(
                (entry.app_name, entry.slug) for entry in runtime.catalog.functions
            ),
            version_ms=0,
            port=port,
        )
    )
    return port


async def send(runtime: Runtime, data: Any = None, seed: EventSeed | None = None) -> str:
    body = msgspec.json.encode({"name": "order/paid", "data": data or {}})
    (event_id,) = await runtime.receive_events(parse_events(body, event_bytes_max=2**23), seed)
    return event_id


def runs(runtime: Runtime) -> list[RunRecord]:
    reader = runtime.reader()
    try:
        return reader.runs(limit=1_000)
    finally:
        reader.close()


def run_test(test: Any) -> None:
    asyncio.run(test(), debug=True)


def test_event_becomes_a_call_and_the_result_is_stored() -> None:
    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            port = attach(runtime)
            event_id = await send(runtime, {"total": 12})
            first = await port.call()
            call = decode_call(first.request_payload)
            assert msgspec.json.decode(call.event) == {
                "name": "order/paid",
                "data": {"total": 12},
                "id": event_id,
                "ts": msgspec.json.decode(call.event)["ts"],
                "user": {},
            }
            assert first.app_name == "shop"
            assert first.function_slug == "shop-ship"
            assert await runtime.report(request_id=first.request_id, outcome=ran("a", {"n": 1}))
            second = await port.call()
            steps = decode_call(second.request_payload).steps
            assert {key: msgspec.json.decode(value) for key, value in steps.items()} == {
                step_id("a"): {"data": {"n": 1}}
            }
            assert await runtime.report(request_id=second.request_id, outcome=returned("done"))
            (run,) = runs(runtime)
            assert (run.status, run.output) == (RunStatus.COMPLETED, b'"done"')

    run_test(story)


def test_report_that_was_not_stored_may_come_again() -> None:
    async def story() -> None:
        store = FailingStore()
        async with running(store) as runtime:
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            first = await port.call()
            store.failures = 1
            with pytest.raises(StoreError):
                await runtime.report(request_id=first.request_id, outcome=ran("a", 1))
            assert await runtime.report(request_id=first.request_id, outcome=ran("a", 1))
            second = await port.call()
            assert list(decode_call(second.request_payload).steps) == [step_id("a")]
            assert second.request_id != first.request_id

    run_test(story)


def test_calls_stay_with_their_connections_when_a_commit_fails() -> None:
    async def story() -> None:
        store, clock = FailingStore(), JumpingClock()
        async with running(store, clock=clock, lease_ms=60_000, reconnect_grace_ms=1) as runtime:
            await sync(runtime)
            port, gone = attach(runtime, limit=2), attach(runtime, "c2", limit=1)
            for _ in range(3):
                await send(runtime)
            first, second, third = await port.call(), await port.call(), await gone.call()
            for call in (first, second, third):
                runtime.acked(connection_id="", request_id=call.request_id)
            store.failures = 1
            with pytest.raises(StoreError):
                await runtime.report(request_id=first.request_id, outcome=ran("a", 1))
            runtime.gone("c2")
            clock.ahead_ms = 5_000  # beyond the grace, within the lease
            await send(runtime)
            for call in (first, second):
                assert await runtime.report(request_id=call.request_id, outcome=ran("a", 1))
            assert not await runtime.report(request_id=third.request_id, outcome=ran("a", 1))

    run_test(story)


def test_event_that_was_not_stored_is_refused_and_starts_nothing() -> None:
    async def story() -> None:
        store = FailingStore()
        async with running(store) as runtime:
            await sync(runtime)
            port = attach(runtime)
            store.failures = 1
            with pytest.raises(StoreError) as refused:
                await send(runtime)
            assert refused.value.status == 503
            assert runs(runtime) == []
            await send(runtime, {"second": True})
            call = decode_call((await port.call()).request_payload)
            assert msgspec.json.decode(call.event)["data"] == {"second": True}
            assert len(runs(runtime)) == 1

    run_test(story)


def test_repeated_seeded_request_gives_the_same_ids_and_one_run() -> None:
    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            seed = EventSeed(ms=1_760_000_000_000, entropy=b"\x01" * 10)
            first, second = await asyncio.gather(send(runtime, seed=seed), send(runtime, seed=seed))
            third = await send(runtime, seed=seed)
            assert first == second == third
            assert len(runs(runtime)) == 1

    run_test(story)


def test_inputs_of_one_turn_of_the_loop_are_one_commit() -> None:
    class CountingStore(MemoryStore):
        commits = 0

        def commit(self, writes: Sequence[Write]) -> None:
            self.commits += 1
            super().commit(writes)

    async def story() -> None:
        store = CountingStore()
        async with running(store) as runtime:
            await sync(runtime)
            port = attach(runtime)
            before = store.commits
            await asyncio.gather(*(send(runtime) for _ in range(50)))
            assert store.commits == before + 1
            assert port.calls.qsize() == 50
            assert port.flushes == -(-50 // CALLS_TOGETHER)  # so that workers begin early

    run_test(story)


def test_unknown_and_malformed_request_ids_change_nothing() -> None:
    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            for request_id in ("", "nonsense", "0" * 26):
                assert not await runtime.report(request_id=request_id, outcome=returned())
                assert (
                    runtime.extend_lease(
                        connection_id="c1", request_id=request_id, lease_id=b"\0" * 16
                    )
                    is None
                )
                runtime.acked(connection_id="c1", request_id=request_id)

    run_test(story)


def test_call_that_was_out_at_a_stop_is_kept_for_its_worker() -> None:
    async def story() -> None:
        store = MemoryStore()
        async with running(store) as runtime:
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            call = await port.call()
        async with running(store) as runtime:
            again = attach(runtime)
            lease_id = parse_ulid(call.lease_id)
            assert runtime.extend_lease(
                connection_id="c1", request_id=call.request_id, lease_id=lease_id
            )
            assert await runtime.report(request_id=call.request_id, outcome=ran("a", 1))
            next_call = await again.call()
            assert next_call.run_id == call.run_id

    run_test(story)


def test_call_that_was_out_at_a_stop_is_given_out_again_after_the_grace() -> None:
    async def story() -> None:
        store = MemoryStore()
        async with running(store) as runtime:
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            call = await port.call()
        async with running(store, reconnect_grace_ms=20) as runtime:
            again = await attach(runtime).call()
            assert again.run_id == call.run_id
            assert again.request_id != call.request_id
            assert decode_call(again.request_payload).ctx.attempt == 0
            assert not await runtime.report(request_id=call.request_id, outcome=returned(1))
            assert await runtime.report(request_id=again.request_id, outcome=returned(2))
            (run,) = runs(runtime)
            assert run.output == b"2"

    run_test(story)


def test_worker_that_leaves_during_a_commit_gets_no_call() -> None:
    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            first = attach(runtime, "c1")
            await send(runtime)
            call = await first.call()
            runtime.gone("c1")  # before it acknowledged
            second = attach(runtime, "c2")
            again = await second.call()
            assert again.run_id == call.run_id
            assert first.calls.empty()

    run_test(story)


def test_a_call_that_leaves_after_a_slow_commit_has_its_whole_lease() -> None:
    clock = JumpingClock()

    class SlowStore(MemoryStore):
        is_slow = False

        def commit(self, writes: Sequence[Write]) -> None:
            super().commit(writes)
            if self.is_slow:
                clock.ahead_ms += 50_000  # of the minute that a lease takes

    async def story() -> None:
        store = SlowStore()
        async with running(store, clock=clock, lease_ms=60_000) as runtime:
            await sync(runtime)
            port = attach(runtime)
            store.is_slow = True
            await send(runtime)
            store.is_slow = False
            call = await port.call()
            clock.ahead_ms += 30_000
            await send(runtime)  # a turn: what has ended is lost now
            assert runtime.extend_lease(
                connection_id="c1", request_id=call.request_id, lease_id=parse_ulid(call.lease_id)
            )

    run_test(story)


def test_too_many_waiting_inputs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.server.inbox.INBOX_MAX", 10)

    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            results = await asyncio.gather(
                *(send(runtime) for _ in range(11)), return_exceptions=True
            )
            refused = [each for each in results if isinstance(each, StepwellError)]
            assert [(each.code, each.status) for each in refused] == [("overloaded", 503)]
            assert len(runs(runtime)) == 10

    run_test(story)


def test_input_that_makes_the_engine_raise_is_kept_and_fails_only_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Partition.step

    def broken(
        self: Partition, inputs: Sequence[Input], now_ms: int, *, inputs_only: bool = False
    ) -> Transition:
        transition = step(self, inputs, now_ms, inputs_only=inputs_only)
        if any(b"poison" in repr(each).encode() for each in inputs):
            run_id = next(iter(self.runs), None)
            self.at_work = run_id
            raise AssertionError("planted")
        return transition

    async def story() -> None:
        store = MemoryStore()
        async with running(store) as runtime:
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            victim = await port.call()
            monkeypatch.setattr(Partition, "step", broken)
            results = await asyncio.gather(
                runtime.report(request_id=victim.request_id, outcome=ran("poison", 1)),
                send(runtime, {"other": 1}),
                return_exceptions=True,
            )
            assert isinstance(results[0], StepwellError)
            assert results[0].code == "internal_error"
            assert isinstance(results[1], str)
            call = await port.call()
            assert msgspec.json.decode(decode_call(call.request_payload).event)["data"] == {
                "other": 1
            }
            assert await runtime.report(request_id=call.request_id, outcome=returned())
            statuses = sorted(run.status for run in runs(runtime))
            assert statuses == [RunStatus.COMPLETED, RunStatus.FAILED]

    run_test(story)


def test_step_data_too_large_to_send_is_left_for_the_sdk_to_fetch() -> None:
    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            for number in range(3):
                call = await port.call()
                outcome = ran(f"s{number}", "x" * (2 * 2**20))
                assert await runtime.report(request_id=call.request_id, outcome=outcome)
            call = await port.call()
            decoded = decode_call(call.request_payload)
            assert decoded.ctx.use_api
            assert decoded.steps == {}
            assert len(call.request_payload) < 4 * 2**20

    run_test(story)


def test_sleep_wakes_by_the_clock() -> None:
    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            call = await port.call()
            nap = ops(op("Sleep", "nap", name="20ms"))
            assert await runtime.report(request_id=call.request_id, outcome=nap)
            woken = decode_call((await port.call()).request_payload)
            assert msgspec.json.decode(woken.steps[step_id("nap")]) is None

    run_test(story)


def test_more_runs_than_memory_holds_all_end() -> None:
    async def story() -> None:
        async with running(MemoryStore(), queue_window=10) as runtime:
            await sync(runtime)
            for _ in range(100):
                await send(runtime)
            assert len(runtime._turns.partition.runs) <= 20
            port = attach(runtime, limit=3)
            for _ in range(100):
                call = await port.call()
                assert await runtime.report(request_id=call.request_id, outcome=returned())
            assert {run.status for run in runs(runtime)} == {RunStatus.COMPLETED}
            assert len(runs(runtime)) == 100

    run_test(story)


def test_a_registration_that_is_not_admitted_leaves_nothing() -> None:
    def refuse(registration: Registration) -> None:
        raise WireError(f"not {registration.app_name}", code="sdk_version_denied")

    async def story() -> None:
        async with running(MemoryStore(), admit=refuse) as runtime:
            body = {"appName": "shop", "functions": [function_config("shop")]}
            with pytest.raises(WireError, match="not shop"):
                await runtime.register(parse_register(msgspec.json.encode(body)))
            assert runtime.catalog.apps == {}

    run_test(story)


def test_a_sync_that_drops_what_a_connected_worker_serves_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime, {"fn": "a"}, {"fn": "b"})
            attach(runtime)
            await send(runtime)
            await sync(runtime, {"fn": "b"}, {"fn": "c"})

    with caplog.at_level("WARNING", logger="stepwell.server.runtime"):
        run_test(story)
    (record,) = [each for each in caplog.records if each.name == "stepwell.server.runtime"]
    assert record.__dict__["functions"] == "shop-a"
    assert record.__dict__["instance"] == "c1"


def test_a_run_says_why_it_waits() -> None:
    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            await send(runtime)
            (run,) = runs(runtime)
            found = runtime.waiting(run.run_id, run.function_no)
            assert found is not None
            assert found.reason == "no_worker"
            call = await attach(runtime).call()
            assert runtime.waiting(run.run_id, run.function_no) is None
            assert await runtime.report(request_id=call.request_id, outcome=returned())
            assert runtime.waiting(run.run_id, run.function_no) is None

    run_test(story)


def test_events_behind_a_sync_are_looked_up_for_its_functions() -> None:
    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime, {"fn": "a"})
            event = {"name": "order/paid", "data": {}, "id": "order-1"}
            events = parse_events(msgspec.json.encode(event), event_bytes_max=2**20)
            await runtime.receive_events(events, None)
            await sync(runtime)  # only `ship`, so `a` is archived
            await asyncio.gather(sync(runtime, {"fn": "a"}), runtime.receive_events(events, None))
            entry = runtime.catalog.by_slug(app_name="shop", slug="shop-a")
            assert entry is not None
            assert [run.function_no for run in runs(runtime)].count(entry.no) == 1

    run_test(story)


def test_inputs_that_are_decided_one_by_one_know_of_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Partition.step
    raised = 0

    def broken_once(
        self: Partition, inputs: Sequence[Input], now_ms: int, *, inputs_only: bool = False
    ) -> Transition:
        nonlocal raised
        if len(inputs) > 1 and not raised:
            raised += 1
            raise AssertionError("planted")
        return step(self, inputs, now_ms, inputs_only=inputs_only)

    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            monkeypatch.setattr(Partition, "step", broken_once)
            event = {"name": "order/paid", "data": {}, "id": "order-1"}
            events = parse_events(msgspec.json.encode(event), event_bytes_max=2**20)
            await asyncio.gather(
                runtime.receive_events(events, None), runtime.receive_events(events, None)
            )
            assert raised == 1
            assert len(runs(runtime)) == 1

    run_test(story)


def test_several_runs_that_are_broken_together_are_all_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("planted")

    async def story() -> None:
        clock = JumpingClock()
        async with running(MemoryStore(), clock=clock) as runtime:
            await sync(runtime)
            port = attach(runtime)
            nap = ops(op("Sleep", "nap", name="1m"))
            for _ in range(5):
                await send(runtime)
                call = await port.call()
                assert await runtime.report(request_id=call.request_id, outcome=nap)
            monkeypatch.setattr(Turn, "finish_waiting_step", broken)
            clock.jump(60_000)
            await send(runtime)
            call = await port.call()
            assert await runtime.report(request_id=call.request_id, outcome=returned())
            statuses = [run.status for run in runs(runtime)]
            assert statuses.count(RunStatus.FAILED) == 5
            assert statuses.count(RunStatus.COMPLETED) == 1

    run_test(story)


def test_a_turn_that_meets_housekeeping_waits_for_it() -> None:
    class SlowIdle(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.go_on = threading.Event()
            self.go_on.set()

        def idle(self) -> None:
            self.go_on.wait(10)

    async def story() -> None:
        store = SlowIdle()
        async with running(store) as runtime:
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            call = await port.call()
            runtime._turns._committer._pace.in_thread = True
            report = asyncio.ensure_future(
                runtime.report(request_id=call.request_id, outcome=ran("a", 1))
            )
            await asyncio.sleep(0)  # the report is in the inbox, and its turn is scheduled
            store.go_on.clear()
            runtime._turns._tidy()
            runtime._turns._turn()
            assert not report.done()
            store.go_on.set()
            assert await report
            assert list(decode_call((await port.call()).request_payload).steps) == [step_id("a")]

    run_test(story)


def test_a_worker_gets_calls_of_a_function_that_is_registered_after_it_came() -> None:
    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime, {"fn": "a"})
            port = Port()
            functions = frozenset({("shop", "shop-a"), ("shop", "shop-ship")})
            runtime.attach(
                Attached(
                    connection_id="c1",
                    instance_id="c1",
                    limit=None,
                    functions=functions,
                    version_ms=0,
                    port=port,
                )
            )
            await sync(runtime)
            await send(runtime)
            assert (await port.call()).function_slug == "shop-ship"

    run_test(story)


def test_a_clock_that_jumps_forward_ends_sleeps_and_no_lease() -> None:
    async def story() -> None:
        clock = JumpingClock()
        async with running(MemoryStore(), clock=clock) as runtime:
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            sleeper = await port.call()
            nap = ops(op("Sleep", "nap", name="1h"))
            assert await runtime.report(request_id=sleeper.request_id, outcome=nap)
            await send(runtime)
            busy = await port.call()
            clock.jump(3_600_000)
            await send(runtime)
            assert {(await port.call()).run_id for _ in range(2)} >= {sleeper.run_id}
            assert await runtime.report(request_id=busy.request_id, outcome=returned())

    run_test(story)


def test_a_sleep_that_begins_after_a_jump_of_the_clock_ends_in_time() -> None:
    async def story() -> None:
        clock = JumpingClock()
        async with running(MemoryStore(), clock=clock, lease_ms=60_000) as runtime:
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            await port.call()  # the timer is set for the end of its lease
            clock.jump(120_000)
            await send(runtime)
            sleeper = await port.call()
            nap = ops(op("Sleep", "nap", name="100ms"))
            assert await runtime.report(request_id=sleeper.request_id, outcome=nap)
            assert (await port.call()).run_id == sleeper.run_id

    run_test(story)


def test_a_lease_that_is_extended_as_the_clock_jumps_does_not_keep_others_from_ending() -> None:
    async def story() -> None:
        clock = JumpingClock()
        async with running(MemoryStore(), clock=clock, lease_ms=300) as runtime:
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            first = await port.call()
            clock.jump(3_600_000)
            extended = runtime.extend_lease(
                connection_id="c1",
                request_id=first.request_id,
                lease_id=parse_ulid(first.lease_id),
            )
            assert extended is not None
            await send(runtime)
            second = await port.call()
            again = {(await port.call()).run_id for _ in range(2)}
            assert again == {first.run_id, second.run_id}, "both leases ended and were given anew"

    run_test(story)


def test_too_many_bytes_of_waiting_events_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.server.inbox.INBOX_BYTES_MAX", 100)

    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            sent = [send(runtime, {"text": "x" * 60}) for _ in range(3)]
            results = await asyncio.gather(*sent, return_exceptions=True)
            assert [isinstance(each, str) for each in results] == [True, False, False]
            assert await send(runtime, {"text": "x" * 60})

    run_test(story)


def test_a_request_that_starts_too_many_runs_is_refused_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stepwell.server.runtime.RUNS_PER_REQUEST_MAX", 5)

    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime, {"fn": "a"}, {"fn": "b"})
            body = msgspec.json.encode([{"name": "order/paid", "data": {}}] * 3)
            with pytest.raises(StepwellError) as refused:
                await runtime.receive_events(parse_events(body, event_bytes_max=2**20), None)
            assert (refused.value.code, refused.value.status) == ("runs_too_many", 413)
            assert runs(runtime) == []

    run_test(story)


def test_many_inputs_take_several_turns_and_all_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stepwell.server.inbox.TURN_INPUTS_MAX", 7)

    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            ids = await asyncio.gather(*(send(runtime) for _ in range(50)))
            assert len(set(ids)) == len(runs(runtime)) == 50

    run_test(story)
