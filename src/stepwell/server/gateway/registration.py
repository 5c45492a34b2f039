"""Registers the apps that a worker announces, as far as their versions call for it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

from stepwell.errors import StoreError
from stepwell.server.workers import WorkerApp
from stepwell.wire.functions import parse_connect_app
from stepwell.wire.ids import app_uuid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.server.gateway.clock import Clock
    from stepwell.server.gateway.hello import Hello
    from stepwell.server.gateway.versions import Versions
    from stepwell.server.runtime import Runtime
    from stepwell.wire.functions import Registration

REGISTER_WAIT_S = 9.0
"""SDKs give the whole handshake ten seconds."""

REFUSAL_REPEAT_MS = 60_000
REFUSALS_KEPT_MAX = 1_000
"""A refused worker comes again every second: the same refusal is logged once a minute."""

_log = logging.getLogger(__name__)


class Registrar:
    """Between the workers' announcements and the runtime's catalog."""

    def __init__(self, *, runtime: Runtime, versions: Versions, clock: Clock) -> None:
        self._runtime = runtime
        self._versions = versions
        self._clock = clock
        self._refusals: OrderedDict[tuple[str, str], int] = OrderedDict()

    def log_refusal(self, instance_id: str, text: str) -> None:
        """Say that a worker's apps were refused, unless that was said a moment ago."""
        now_ms = self._clock.now_ms()
        said_ms = self._refusals.get((instance_id, text))
        if said_ms is not None and now_ms - said_ms < REFUSAL_REPEAT_MS:
            return
        self._refusals[instance_id, text] = now_ms
        self._refusals.move_to_end((instance_id, text))
        if len(self._refusals) > REFUSALS_KEPT_MAX:
            self._refusals.popitem(last=False)
        _log.warning("apps refused: %s", text, extra={"instance": instance_id})

    async def admit(self, hello: Hello) -> tuple[Registration, ...]:
        """Take a worker in: each of its apps is registered, or needs not be.

        Whoever is admitted must be given back with `dismiss`.

        Raises:
            StepwellError: Nothing of the worker is kept. Below status 500 it is the app's fault,
                and the text names app or function and the reason.
            TimeoutError: Registration took longer than a worker waits.
        """
        registrations = [
            parse_connect_app(
                app_name=app.name,
                app_version=app.version,
                functions=app.functions,
                sdk_language=hello.sdk_language,
                sdk_version=hello.sdk_version,
                framework=hello.framework,
                platform=hello.platform,
                capabilities=hello.capabilities,
            )
            for app in hello.apps
        ]
        # All are counted as here before the first is stored: of two versions that come at the
        # same time, the older one must see the newer one.
        now_ms = self._clock.now_ms()
        wanted = [
            registration
            for registration in registrations
            if self._versions.arrived(hello.connection_id, registration, now_ms)
        ]
        admitted = False
        try:
            async with asyncio.timeout(REGISTER_WAIT_S):
                for registration in wanted:
                    await self._register(registration)
            admitted = True
        finally:
            if not admitted:
                for registration in registrations:
                    self._versions.refused(hello.connection_id, registration)
        return tuple(registrations)

    def dismiss(
        self, connection_id: str, registrations: Sequence[Registration], *, cut_off: bool
    ) -> None:
        """An admitted worker has gone. `cut_off`: without having said so."""
        now_ms = self._clock.now_ms()
        for registration in registrations:
            self._versions.departed(connection_id, registration, cut_off=cut_off, now_ms=now_ms)

    def apps(self, registrations: Sequence[Registration]) -> tuple[WorkerApp, ...]:
        """An admitted worker's apps, for the book of workers."""
        return tuple(
            WorkerApp(
                name=registration.app_name,
                version=registration.app_version or None,
                function_count=len(registration.functions),
                app_id=app_uuid(registration.app_name),
                sync_id=self._versions.sync_id(registration),
                group_hash=registration.checksum,
            )
            for registration in registrations
        )

    def since_ms(self, registrations: Sequence[Registration]) -> int:
        """When the newest of an admitted worker's versions was first seen."""
        return max(self._versions.since_ms(registration) for registration in registrations)

    def next_wakeup_ms(self) -> int | None:
        """When to call `restore`."""
        return self._versions.next_wakeup_ms(self._clock.now_ms())

    async def restore(self) -> None:
        """Put versions in force whose newer ones have all left."""
        for registration in self._versions.take_due(self._clock.now_ms()):
            try:
                async with asyncio.timeout(REGISTER_WAIT_S):
                    await self._register(registration)
            except (StoreError, TimeoutError) as error:
                _log.warning(
                    "cannot register the version that is left: %s",
                    error,
                    extra={"app": registration.app_name},
                )
            else:
                _log.info(
                    "the newer version has left: an earlier one is in force again",
                    extra={"app": registration.app_name, "version": registration.app_version},
                )

    async def _register(self, registration: Registration) -> None:
        done = await self._runtime.register(registration)
        self._versions.registered(registration, done.sync_id)
