"""Queries as texts: read, bounded, validated, and the last ones remembered.

Suites ask the same few questions again and again. Validation takes milliseconds, so it is done on
a thread of its own and once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from graphql import GraphQLError, parse, validate

from stepwell.errors import LimitExceeded
from stepwell.server.api.graphql.bounds import (
    QUERY_CHARS_MAX,
    TOKENS_MAX,
    check_shape,
    check_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from graphql import DocumentNode, GraphQLSchema

REMEMBERED_MAX: Final = 64
REMEMBERED_CHARS_MAX: Final = 16 * 2**10
ERRORS_MAX: Final = 20


class InvalidQuery(Exception):
    """A text that is no query of this schema.

    Attributes:
        code: What kind of mistake it is, as clients know it.
    """

    def __init__(self, errors: Sequence[GraphQLError], kind: str) -> None:
        super().__init__(str(errors[0]))
        self.errors = errors
        self.kind = kind


class Documents:
    """Valid queries of one schema."""

    def __init__(self, schema: GraphQLSchema, thread: Executor) -> None:
        self._schema = schema
        self._thread = thread
        self._known: OrderedDict[str, DocumentNode] = OrderedDict()

    async def get(self, text: str) -> DocumentNode:
        """The document of a text.

        Raises:
            InvalidQuery: It does not parse, or asks for what is not there.
            LimitExceeded: It is too large.
        """
        known = self._known.get(text)
        if known is not None:
            self._known.move_to_end(text)
            return known
        loop = asyncio.get_running_loop()
        document = await loop.run_in_executor(self._thread, self._read, text)
        if len(text) <= REMEMBERED_CHARS_MAX:
            self._known[text] = document
            while len(self._known) > REMEMBERED_MAX:
                self._known.popitem(last=False)
        return document

    def _read(self, text: str) -> DocumentNode:
        if len(text) > QUERY_CHARS_MAX:
            raise LimitExceeded("the query is too large", limit=QUERY_CHARS_MAX, seen=len(text))
        try:
            # The parser takes care of its own recursion.
            document = parse(text, no_location=True, max_tokens=TOKENS_MAX)
        except GraphQLError as error:
            raise InvalidQuery([error], "GRAPHQL_PARSE_FAILED") from error
        check_text(document)
        errors = validate(self._schema, document, max_errors=ERRORS_MAX)
        if errors:
            raise InvalidQuery(errors, "GRAPHQL_VALIDATION_FAILED")
        check_shape(document)
        return document
