"""Workers are admitted whole or not at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from stepwell.errors import StoreError, WireError
from stepwell.server.gateway import registration
from stepwell.server.gateway.hello import Hello, read_hello
from stepwell.server.gateway.registration import Registrar
from stepwell.server.gateway.versions import Versions
from tests.unit.server.gateway.messages import app, function, hello
from tests.unit.server.loop import on_loop
from tests.unit.server.manual_clock import ManualClock
from tests.unit.server.recording_runtime import RecordingRuntime

if TYPE_CHECKING:
    from stepwell.wire.connect import AppConfiguration


def announced(*apps: AppConfiguration) -> Hello:
    return read_hello(hello(*apps).SerializeToString(), lambda *_: True)


class Desk:
    """A registrar over a recording runtime."""

    def __init__(self) -> None:
        self.runtime = RecordingRuntime()
        self.clock = ManualClock()
        self.versions = Versions(
            in_force=self.in_force, grace_ms=15_000, now_ms=self.clock.now_ms()
        )
        self.registrar = Registrar(
            runtime=self.runtime,  # type: ignore[arg-type]  # it has the part that is used
            versions=self.versions,
            clock=self.clock,
        )

    def in_force(self, app_name: str) -> str | None:
        found = self.runtime.catalog.apps.get(app_name)
        return None if found is None else found.checksum


@on_loop
async def test_every_app_is_registered_in_turn() -> None:
    desk = Desk()
    admitted = await desk.registrar.admit(announced(app("shop"), app("billing", version=None)))
    assert desk.runtime.named("register") == [("shop", "v1"), ("billing", "")]
    shop, billing = desk.registrar.apps(admitted)
    assert (shop.name, shop.version, shop.function_count, shop.sync_id) == (
        "shop", "v1", 1, "sync-1",
    )  # fmt: skip
    assert (billing.version, billing.sync_id) == (None, "sync-2")


@on_loop
async def test_what_cannot_be_read_registers_nothing() -> None:
    desk = Desk()
    with pytest.raises(WireError):
        await desk.registrar.admit(announced(app("shop"), app(functions=[function(name="")])))
    assert desk.runtime.named("register") == []


@on_loop
async def test_a_worker_that_was_not_stored_is_as_if_it_had_not_come() -> None:
    desk = Desk()
    desk.runtime.register_error = StoreError("disk full")
    worker = announced(app("shop"))
    with pytest.raises(StoreError):
        await desk.registrar.admit(worker)
    desk.runtime.register_error = None
    (admitted,) = await desk.registrar.admit(worker)
    assert desk.registrar.apps([admitted])[0].sync_id == "sync-1"


@on_loop
async def test_a_registration_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "REGISTER_WAIT_S", 0.01)
    desk = Desk()

    async def hang(_registration: object) -> None:
        await asyncio.Event().wait()

    desk.runtime.register = hang  # type: ignore[method-assign, assignment]
    with pytest.raises(TimeoutError):
        await desk.registrar.admit(announced(app("shop")))
    assert desk.registrar.next_wakeup_ms() is None


@on_loop
async def test_an_earlier_version_comes_back_into_force_when_the_newer_one_leaves() -> None:
    desk = Desk()
    await desk.registrar.admit(announced(app(version="v1")))
    desk.clock.advance(1)
    newer = await desk.registrar.admit(announced(app(version="v2")))
    desk.registrar.dismiss(announced().connection_id, newer, cut_off=False)
    # Both came under one connection id here; the version in force has no worker any more.
    assert desk.registrar.next_wakeup_ms() == desk.clock.now_ms()
    await desk.registrar.restore()
    assert desk.runtime.catalog.apps["shop"].app_version == "v1"
