"""Probes."""

from __future__ import annotations

from stepwell.errors import StoreError
from tests.unit.server.api.bench import open_api
from tests.unit.server.loop import on_loop


@on_loop
async def test_health_and_readiness() -> None:  # server 1, 25
    async with open_api() as api:
        assert (await api.get("/health")).json == {"status": 200, "message": "OK"}
        assert (await api.get("/ready")).status == 200
        for prefix in ("/v2", "/api/v2"):
            assert (await api.get(f"{prefix}/health")).json["data"] == {"status": "ok"}


@on_loop
async def test_a_draining_server_lives_but_is_not_ready() -> None:
    async with open_api() as api:
        api.drained = True
        answer = await api.get("/ready")
        assert (answer.status, answer.json["message"]) == (503, "draining")
        assert (await api.get("/health")).status == 200


@on_loop
async def test_a_server_without_its_store_is_not_ready() -> None:
    async with open_api() as api:
        reader = api.runtime.reader()

        def fail(_event_id: bytes) -> None:
            raise StoreError("no such file")

        reader.event = fail  # type: ignore[assignment, method-assign]
        api.runtime.reader = lambda: reader  # type: ignore[method-assign]
        answer = await api.get("/ready")
        assert (answer.status, answer.json["message"]) == (503, "store unavailable")
        assert (await api.get("/health")).status == 200
