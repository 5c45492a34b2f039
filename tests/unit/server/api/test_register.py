"""`POST /fn/register`. What is a registration is told in the tests of `wire.functions`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.server.api.bench import open_api
from tests.unit.server.gateway.messages import function
from tests.unit.server.loop import on_loop


def registration(**fields: Any) -> bytes:
    given = {
        "url": "http://app.example/api/inngest",
        "deployType": "connect",
        "sdk": "py:0.5.19",
        "v": "0.1",
        "framework": "flask",
        "appName": "shop",
        "functions": [function("shop-ship"), function("shop-refund")],
    }
    return msgspec.json.encode(given | fields)


@on_loop
async def test_a_sync_is_stored_and_a_repeat_changes_nothing() -> None:  # server 17
    async with open_api() as api:
        first = await api.post("/fn/register", registration())
        again = await api.post("/fn/register", registration())
        assert (first.status, again.status) == (200, 200)
        assert (first.json["ok"], first.json["modified"], again.json["modified"]) == (
            True, True, False,
        )  # fmt: skip
        assert first.json["app_id"] == again.json["app_id"]
        assert first.json["sync_id"] != again.json["sync_id"]
        versions = [entry.version for entry in api.runtime.catalog.functions]
        assert versions == [1, 1]


@on_loop
async def test_functions_that_are_no_longer_listed_are_archived() -> None:
    async with open_api() as api:
        await api.post("/fn/register", registration())
        await api.post("/fn/register", registration(functions=[function("shop-ship")]))
        assert [entry.slug for entry in api.runtime.catalog.functions] == ["shop-ship"]


@on_loop
async def test_an_app_without_functions_is_taken() -> None:
    async with open_api() as api:
        assert (await api.post("/fn/register", registration(functions=[]))).status == 200


@on_loop
async def test_another_kind_of_server_is_refused() -> None:  # server 18
    async with open_api() as api:
        answer = await api.post(
            "/fn/register", registration(), x_inngest_expected_server_kind="cloud"
        )
        assert answer.status == 400
        assert answer.json["error"] == "Expected server kind dev, got cloud"
        answer = await api.post(
            "/fn/register", registration(), x_inngest_expected_server_kind="dev"
        )
        assert answer.status == 200


@on_loop
async def test_an_app_that_was_renamed_takes_the_place_of_the_old_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def served(app: str, url: str, **fields: Any) -> bytes:
        functions = [function(f"{app}-greet")]
        given = {"appName": app, "url": url, "deployType": "ping", "functions": functions}
        return registration(**given | fields)

    here, elsewhere = "http://localhost:3000/api/inngest", "http://localhost:3001/api/inngest"
    async with open_api() as api:
        await api.post("/fn/register", served("fa", here))
        await api.post("/fn/register", served("other", elsewhere))
        await api.post("/fn/register", served("worker", here, deployType="connect"))
        assert set(api.runtime.catalog.apps) == {"fa", "other", "worker"}
        assert caplog.records == []
        spelt = "http://127.0.0.1:3000/api/inngest?deployId=7"
        for _ in range(2):
            assert (await api.post("/fn/register", served("fl", spelt))).status == 200
        catalog = api.runtime.catalog
        assert set(catalog.apps) == {"fl", "other", "worker"}
        assert [entry.slug for entry in catalog.functions] == [
            "other-greet", "worker-greet", "fl-greet",
        ]  # fmt: skip
        assert [record.getMessage() for record in caplog.records] == [
            "the app fl is now served where the app fa was: fa is removed"
        ]


@pytest.mark.parametrize(
    ("body", "begin", "words"),
    [
        (b"", "Invalid request: ", ""),
        (b"nope", "Invalid request: ", ""),
        (b"[]", "Invalid request: ", ""),
        (b"\xff", "Invalid request: ", ""),
        (b'{"appName":7}', "Invalid request: ", ""),
        (registration(appName=""), "App ID required", ""),
        (registration(functions={}), "Invalid request: ", "functions"),
        (registration(functions=[7]), "At least one function is invalid", ""),
        (
            registration(functions=[function(name="")]),
            "At least one function is invalid",
            "shop-ship",
        ),
        (registration(functions=[function(steps={})]), "At least one function is invalid", "step"),
        (
            registration(functions=[function("shop-fine"), function(concurrency=5)]),
            "At least one function is invalid",
            "concurrency",
        ),
        (
            registration(functions=[function(triggers=[{"cron": "@daily"}])]),
            "At least one function is invalid",
            "five fields",
        ),
        (
            registration(
                functions=[function(triggers=[{"event": "a", "expression": "event.data.x >"}])]
            ),
            "At least one function is invalid",
            "event.data.x >",
        ),
        (
            registration(
                functions=[function(triggers=[{"event": "a", "expression": "async.data.a == 1"}])]
            ),
            "At least one function is invalid",
            "names `async`",
        ),
    ],
)
def test_what_cannot_be_registered_is_refused_whole_with_the_reason(  # server 44
    body: bytes, begin: str, words: str
) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            answer = await api.post("/fn/register", body)
            assert (answer.status, answer.json["status"], answer.json["data"]) == (400, 400, None)
            assert answer.json["error"].startswith(begin)
            assert words in answer.json["error"]
            assert answer.json["code"]
            assert api.runtime.catalog.apps == {}

    check()
