"""`/v0/gql` over HTTP: what it takes, what it answers to what it does not take."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from tests.unit.server.api.bench import open_api
from tests.unit.server.api.graphql.asking import PATH, ask
from tests.unit.server.api.rows import SHOP
from tests.unit.server.loop import on_loop

KEY = "ab" * 32
START: dict[str, Any] = {"mode": "start", "signing_key": KEY, "event_keys": ("key",)}


@on_loop
async def test_a_query_may_come_by_post_or_get() -> None:
    async with open_api(SHOP) as api:
        query = (
            "query Two($slug: String!) { functionBySlug(query: {functionSlug: $slug}) { slug } }"
        )
        variables = {"slug": "shop-ship"}
        wanted = {"data": {"functionBySlug": {"slug": "shop-ship"}}}
        assert await ask(api, query, **variables) == wanted
        in_url = f"query={quote(query)}&variables={quote(msgspec.json.encode(variables))}"
        answer = await api.get(f"{PATH}?{in_url}&operationName=Two")
        assert (answer.status, answer.json) == (200, wanted)
        assert answer.headers["content-type"] == "application/json"


@on_loop
async def test_of_several_operations_one_is_named() -> None:
    async with open_api(SHOP) as api:
        query = "query A { apps { name } } query B { functions { slug } }"
        body = {"query": query, "operationName": "A"}
        answer = await api.post(PATH, msgspec.json.encode(body))
        assert answer.json == {"data": {"apps": [{"name": "shop"}]}}
        for name in (None, "C"):
            body = {"query": query, "operationName": name or ""}
            answer = await api.post(PATH, msgspec.json.encode(body))
            assert (answer.status, answer.json["data"]) == (422, None)
            assert "name one operation" in answer.json["errors"][0]["message"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),  # server 45
        ("query($id: Int!) { run(runID: $id) { id } }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ run(runID: ) }", "GRAPHQL_PARSE_FAILED"),
    ],
)
@on_loop
async def test_what_is_no_query_of_the_schema_is_a_422(query: str, code: str) -> None:
    async with open_api() as api:
        answer = await api.post(PATH, msgspec.json.encode({"query": query}))
        assert (answer.status, answer.json["data"]) == (422, None)
        assert answer.json["errors"][0]["extensions"]["code"] == code


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"query":1}', b'{"query":""}', b"{"])
@on_loop
async def test_a_body_that_asks_nothing_is_a_400(body: bytes) -> None:
    async with open_api() as api:
        assert (await api.post(PATH, body)).status == 400


@on_loop
async def test_a_variable_of_another_type_is_an_error_of_the_answer() -> None:
    async with open_api() as api:
        query = "query($id: String!) { run(runID: $id) { id } }"
        for variables in ({}, {"id": None}, {"id": 7}):
            answer = await ask(api, query, **variables)
            assert answer["data"] is None
            assert "$id" in answer["errors"][0]["message"]


@on_loop
async def test_a_mutation_is_not_taken_by_get() -> None:
    async with open_api(SHOP) as api:
        query = quote('mutation { deleteAppByName(name: "shop") }')
        answer = await api.get(f"{PATH}?query={query}")
        assert answer.status == 405
        assert "shop" in api.runtime.catalog.apps


@on_loop
async def test_too_large_a_query_is_a_413() -> None:
    async with open_api() as api:
        query = "{" + " ".join(f"a{n}: __typename" for n in range(1_200)) + "}"
        answer = await api.post(PATH, msgspec.json.encode({"query": query}))
        assert answer.status == 413
        assert answer.json["errors"][0]["extensions"]["code"] == "limit_exceeded"


@on_loop
async def test_in_start_mode_it_needs_the_key() -> None:
    async with open_api(SHOP, **START) as api:
        body = msgspec.json.encode({"query": "{ functions { slug } }"})
        assert (await api.post(PATH, body)).status == 401
        answer = await api.post(PATH, body, authorization=f"Bearer {KEY}")
        assert (answer.status, len(answer.json["data"]["functions"])) == (200, 2)


def test_a_server_that_nobody_asks_does_not_import_it() -> None:
    code = "import stepwell.server.app, sys; print([m for m in sys.modules if m == 'graphql'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
