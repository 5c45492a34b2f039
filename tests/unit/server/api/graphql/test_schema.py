"""Every field of the schema has something that answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from graphql import GraphQLObjectType

from stepwell.server.api.graphql import apps
from stepwell.server.api.graphql.execution import load_schema, python_name
from stepwell.server.api.graphql.mutation import Mutation
from stepwell.server.api.graphql.query import Query
from tests.unit.server.api.bench import open_api
from tests.unit.server.api.graphql.asking import data
from tests.unit.server.api.rows import SHOP, ended, put_event, put_run, run_id, running, step, text
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from stepwell.engine.rows import Write


@pytest.mark.parametrize("root", [Query, Mutation])
def test_each_field_of_a_root_has_a_method(root: type[Any]) -> None:
    kind = load_schema().type_map[root.__name__]
    assert isinstance(kind, GraphQLObjectType)
    assert [name for name in kind.fields if not hasattr(root, python_name(name))] == []


def test_an_app_that_has_not_synced_has_the_fields_of_one_that_has() -> None:
    kind = load_schema().type_map["App"]
    assert isinstance(kind, GraphQLObjectType)
    app = apps.UnsyncedApp("http://localhost:3000/api/inngest", None)
    for field in kind.fields:
        assert hasattr(app, python_name(field)), field


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("outputID", "output_id"),
        ("IDs", "ids"),
        ("functionIDs", "function_ids"),
        ("eventV2", "event_v2"),
        ("eventsV2", "events_v2"),
        ("hasAI", "has_ai"),
        ("runTraceSpanOutputByID", "run_trace_span_output_by_id"),
        ("isRoot", "is_root"),
    ],
)
def test_names_of_fields(name: str, wanted: str) -> None:
    assert python_name(name) == wanted


def _whole(kind: Any, depth: int) -> str:
    """All fields of a type that need no arguments, so deep."""
    while hasattr(kind, "of_type"):
        kind = kind.of_type
    if not isinstance(kind, GraphQLObjectType):
        return "{ __typename }" if hasattr(kind, "types") else ""
    chosen = []
    for name, field in kind.fields.items():
        inner = _whole(field.type, depth - 1) if depth else ""
        leaf = field.type
        while hasattr(leaf, "of_type"):
            leaf = leaf.of_type
        if inner or not (isinstance(leaf, GraphQLObjectType) or hasattr(leaf, "types")):
            chosen.append(f"{name} {inner}")
    return "{ " + " ".join(chosen) + " }"


@pytest.mark.parametrize(
    "field",
    [
        "apps",
        "functions",
        'functionBySlug(query: {functionSlug: "shop-ship"})',
        "events(query: {})",
        "stream(query: {includeInternalEvents: true})",
        'eventsV2(filter: {from: "2026-01-01T00:00:00Z"})',
        'runs(filter: {from: "2026-01-01T00:00:00Z"}, orderBy: [])',
        'run(runID: "RUN")',
        'functionRun(query: {functionRunId: "RUN"})',
        'runTrigger(runID: "RUN")',
        'runTrace(runID: "RUN")',
    ],
)
@on_loop
async def test_everything_can_be_asked_for(field: str) -> None:
    event = put_event(runs=(run_id(1),))
    rows: list[Write] = [*SHOP, event, put_run(), running(), step(), ended()]
    query = load_schema().query_type
    assert query is not None
    kind = query.fields[field.partition("(")[0]].type
    async with open_api(rows) as api:
        asked = field.replace("RUN", text(run_id(1)))
        assert await data(api, f"{{ shown: {asked} {_whole(kind, 2)} }}")
