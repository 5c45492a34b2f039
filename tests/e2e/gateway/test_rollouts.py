"""Workers of several versions of an app. Numbers: the reference's behaviours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.errors import StoreError
from tests.e2e.gateway.raw_worker import open_bench, until
from tests.unit.server.gateway.messages import PAUSE, app, function
from tests.unit.server.loop import on_loop
from tests.unit.server.manual_clock import ManualClock

if TYPE_CHECKING:
    from stepwell.wire.connect import AppConfiguration
    from tests.e2e.gateway.raw_worker import Bench, RawWorker

GRACE_MS = 15_000


def old() -> AppConfiguration:
    return app(version="v1", functions=[function("shop-ship"), function("shop-removed")])


def new() -> AppConfiguration:
    return app(version="v2", functions=[function("shop-ship"), function("shop-added")])


def slugs(bench: Bench) -> list[str]:
    return sorted(entry.slug for entry in bench.runtime.catalog.functions)


OLD = ["shop-removed", "shop-ship"]
NEW = ["shop-added", "shop-ship"]


async def leave(worker: RawWorker) -> None:
    await worker.send(PAUSE)
    await worker.socket.close()


@on_loop
async def test_equal_workers_are_registered_once() -> None:  # 48
    async with open_bench() as bench, bench.worker(old()), bench.worker(old(), instance_id="b"):
        assert bench.runtime.named("register") == [("shop", "v1")]
        assert {info.apps[0].sync_id for info in bench.book.list()} == {"sync-1"}
        assert {entry.version for entry in bench.runtime.catalog.functions} == {1}


@on_loop
async def test_a_new_version_is_registered_by_its_first_worker() -> None:  # 49
    async with open_bench() as bench, bench.worker(old()) as first:
        bench.runtime.clock_ms = bench.runtime.now_ms() + 1
        async with bench.worker(new()) as second:
            assert slugs(bench) == NEW
            attached = bench.runtime.attached
            # Each worker gets calls of the functions that it has; the newer one gets more.
            assert attached[first.connection_id].functions == {("shop", slug) for slug in OLD}
            assert attached[second.connection_id].functions == {("shop", slug) for slug in NEW}


@on_loop
async def test_newer_versions_have_a_later_time() -> None:  # 42
    clock = ManualClock()
    async with open_bench(clock=clock) as bench, bench.worker(old()) as first:
        clock.advance(1_000)
        async with bench.worker(new()) as second, bench.worker(old()) as third:
            times = [
                bench.runtime.attached[worker.connection_id].version_ms
                for worker in (first, second, third)
            ]
            assert times[0] == times[2] == times[1] - 1_000


@on_loop
async def test_an_old_version_that_reconnects_changes_nothing() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench:
        clock.advance(GRACE_MS)
        async with bench.worker(old()):
            clock.advance(1)
            async with bench.worker(new()):
                async with bench.worker(old()) as again:
                    assert slugs(bench) == NEW
                    assert again.connection_id in bench.runtime.attached
                assert bench.runtime.named("register") == [("shop", "v1"), ("shop", "v2")]


@on_loop
async def test_an_old_version_alone_is_restored_when_it_connects() -> None:  # 50
    clock = ManualClock()
    async with open_bench(clock=clock) as bench:
        clock.advance(GRACE_MS)
        for version in (old(), new()):
            clock.advance(1)
            async with bench.worker(version) as worker:
                await leave(worker)
        async with bench.worker(old()):
            assert slugs(bench) == OLD


@on_loop
async def test_an_old_version_that_is_left_is_restored() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench:
        clock.advance(GRACE_MS)
        async with bench.worker(old()):
            clock.advance(1)
            async with bench.worker(new()) as newer:
                assert slugs(bench) == NEW
                await leave(newer)
            await until(lambda: bool(bench.runtime.named("gone")))
            clock.advance(0)
            await until(lambda: slugs(bench) == OLD)


@on_loop
async def test_a_new_version_that_was_cut_off_is_waited_for() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench:
        clock.advance(GRACE_MS)
        async with bench.worker(old()):
            clock.advance(1)
            async with bench.worker(new()) as newer:
                newer.socket.transport.abort()
                await until(lambda: bool(bench.runtime.named("gone")))
            clock.advance(GRACE_MS - 1)
            async with bench.worker(old()):
                assert slugs(bench) == NEW
            clock.advance(1)
            await until(lambda: slugs(bench) == OLD)


@on_loop
async def test_a_restore_that_fails_is_tried_again() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench:
        clock.advance(GRACE_MS)
        async with bench.worker(old()):
            clock.advance(1)
            async with bench.worker(new()) as newer:
                bench.runtime.register_error = StoreError("disk full")
                await leave(newer)
            await until(lambda: bool(bench.runtime.named("gone")))
            for error in (StoreError("disk full"), RuntimeError("a defect"), None):
                bench.runtime.register_error = error
                tried = len(bench.runtime.named("register"))
                clock.advance(GRACE_MS)
                await until(lambda before=tried: len(bench.runtime.named("register")) > before)  # type: ignore[misc]
            await until(lambda: slugs(bench) == OLD)


@on_loop
async def test_a_gateway_that_drains_restores_nothing() -> None:
    clock = ManualClock()
    async with open_bench(clock=clock) as bench:
        clock.advance(GRACE_MS)
        async with bench.worker(old()):
            clock.advance(1)
            async with bench.worker(new()) as newer:
                bench.gateway.begin_drain()
                await leave(newer)
            await until(lambda: bool(bench.runtime.named("gone")))
            clock.advance(GRACE_MS)
            assert slugs(bench) == NEW
