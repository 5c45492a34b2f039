"""`GET /v1/runs/{id}`."""

from __future__ import annotations

import pytest

from stepwell.engine.rows import RunStatus
from stepwell.wire.ids import ENVIRONMENT_ID, function_uuid
from tests.unit.server.api.bench import open_api
from tests.unit.server.api.rows import SHOP, ended, event_id, put_event, put_run, run_id, text
from tests.unit.server.loop import on_loop

RUN = f"/v1/runs/{text(run_id(1))}"


@on_loop
async def test_a_run_is_shown_whole() -> None:
    async with open_api([*SHOP, put_event(), put_run(), ended()]) as api:
        assert (await api.get(RUN)).json["data"] == {
            "run_id": text(run_id(1)),
            "run_started_at": "2026-09-21T14:13:20.100Z",
            "function_id": function_uuid("shop", "shop-ship"),
            "function_version": 1,
            "environment_id": ENVIRONMENT_ID,
            "event_id": text(event_id(1)),
            "status": "Completed",
            "ended_at": "2026-09-21T14:13:21.100Z",
            "output": {"ok": True},
        }


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (RunStatus.FAILED, "Failed"),
        (RunStatus.CANCELLED, "Cancelled"),
        (RunStatus.SKIPPED, "Skipped"),
    ],
)
def test_every_end_has_its_name(status: RunStatus, shown: str) -> None:
    @on_loop
    async def check() -> None:
        async with open_api([*SHOP, put_event(), put_run(), ended(status=status)]) as api:
            assert (await api.get(RUN)).json["data"]["status"] == shown

    check()


@on_loop
async def test_a_run_that_waits_has_not_begun() -> None:
    async with open_api([*SHOP, put_event(), put_run()]) as api:
        shown = (await api.get(RUN)).json["data"]
        assert (shown["status"], shown["run_started_at"]) == ("Scheduled", None)


@on_loop
async def test_an_unknown_run_is_a_404_and_no_run_a_400() -> None:  # server 43
    async with open_api() as api:
        unknown = await api.get("/v1/runs/01K7T09A4B0000000000000000")
        assert (unknown.status, unknown.json["error"]) == (404, "Run not found")
        invalid = await api.get("/v1/runs/nope")
        assert (invalid.status, invalid.json["error"]) == (400, "Invalid run ID: nope")


@on_loop
async def test_a_wrong_method_is_told_all_that_are_right() -> None:
    async with open_api() as api:
        answer = await api.request("PUT", f"/v1/runs/{text(run_id(1))}")
        assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, HEAD")
