"""Queries that are too much are refused before they cost anything."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from graphql import get_introspection_query

from stepwell.errors import LimitExceeded
from stepwell.server.api.graphql.bounds import (
    DEPTH_MAX,
    QUERY_CHARS_MAX,
    SAME_NAMES_MAX,
    SELECTIONS_MAX,
    TOKENS_MAX,
)
from stepwell.server.api.graphql.documents import REMEMBERED_MAX, Documents, InvalidQuery
from stepwell.server.api.graphql.execution import load_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from graphql import DocumentNode


@pytest.fixture
def documents() -> Iterator[Documents]:
    with ThreadPoolExecutor(1) as thread:
        yield Documents(load_schema(), thread)


def read(documents: Documents, text: str) -> DocumentNode:
    return asyncio.run(documents.get(text))


def nested(levels: int) -> str:
    """A query so many levels deep."""
    inside = "name"
    for _ in range(levels - 3):
        inside = f"childrenSpans {{ {inside} }}"
    return f'{{ run(runID: "R") {{ trace {{ {inside} }} }} }}'


def test_the_usual_question_about_the_schema_is_answered(documents: Documents) -> None:
    assert read(documents, get_introspection_query())


def test_depth_is_bounded(documents: Documents) -> None:
    assert read(documents, nested(DEPTH_MAX))
    with pytest.raises(LimitExceeded, match="levels deep"):
        read(documents, nested(DEPTH_MAX + 1))


def test_depth_counts_through_fragments(documents: Documents) -> None:
    inside = "name"
    for _ in range(DEPTH_MAX - 4):
        inside = f"childrenSpans {{ {inside} }}"
    text = '{ run(runID: "R") { trace { ...Span } } } fragment Span on RunTraceSpan { %s }'
    assert read(documents, text % inside)
    with pytest.raises(LimitExceeded, match="levels deep"):
        read(documents, text % f"childrenSpans {{ childrenSpans {{ {inside} }} }}")


def test_no_nesting_overturns_the_parser(documents: Documents) -> None:
    deep = TOKENS_MAX // 2 - 10
    for text in ("{a" * deep + "}" * deep, "{a(b:" + "[" * deep + "]" * deep + ")}"):
        with pytest.raises(InvalidQuery, match="nested too deeply") as caught:
            read(documents, text)
        assert caught.value.kind == "GRAPHQL_PARSE_FAILED"
    for levels in (10, 50, 100, 150):  # which the parser may take
        inside = "[" * levels + "]" * levels
        with pytest.raises(InvalidQuery):
            read(documents, f'{{ run(runID: "R", data: {inside}) {{ id }} }}')
        argument = f'functionSlug: "f", data: {{a: {inside}}}'
        assert read(documents, f"mutation {{ invokeFunction({argument}) }}")


def test_one_name_in_a_selection_is_bounded(documents: Documents) -> None:
    assert read(documents, "{" + "__typename " * SAME_NAMES_MAX + "}")
    with pytest.raises(LimitExceeded, match="__typename more than"):
        read(documents, "{" + "__typename " * (SAME_NAMES_MAX + 1) + "}")
    spreads = "...F " * (SAME_NAMES_MAX + 1)
    with pytest.raises(LimitExceeded, match="more than"):
        read(documents, "{" + spreads + "} fragment F on Query { __typename }")


def test_selections_are_bounded(documents: Documents) -> None:
    names = " ".join(f"a{n}:__typename" for n in range(SELECTIONS_MAX + 1))
    with pytest.raises(LimitExceeded, match="selections"):
        read(documents, f"{{{names}}}")


def test_the_text_is_bounded(documents: Documents) -> None:
    with pytest.raises(LimitExceeded, match="too large"):
        read(documents, "{ __typename #" + "x" * QUERY_CHARS_MAX + "\n}")
    with pytest.raises(InvalidQuery) as caught:
        read(documents, "{" + "a " * TOKENS_MAX + "}")
    assert caught.value.kind == "GRAPHQL_PARSE_FAILED"


def test_what_is_asked_about_the_schema_is_bounded(documents: Documents) -> None:
    inside = "fields { args { type { fields { args { type { name } } } } } }"
    copies = " ".join(f"a{n}: __schema {{ types {{ {inside} }} }}" for n in range(9))
    with pytest.raises(LimitExceeded, match="schema"):
        read(documents, f"{{{copies}}}")


def test_a_fragment_that_contains_itself_is_a_mistake(documents: Documents) -> None:
    text = "{ ...F } fragment F on Query { ...F }"
    with pytest.raises(InvalidQuery) as caught:
        read(documents, text)
    assert caught.value.kind == "GRAPHQL_VALIDATION_FAILED"


def test_a_query_is_read_once(documents: Documents) -> None:
    first = read(documents, "{ __typename }")
    assert read(documents, "{ __typename }") is first
    for n in range(REMEMBERED_MAX):
        read(documents, f"{{ a{n}: __typename }}")
    assert read(documents, "{ __typename }") is not first
