"""The schema, and queries carried out over it.

The schema is a text. What answers it are plain objects: a field `outputID` is read as the attribute
`output_id`, and if that is a method it is called with the field's arguments.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from importlib.resources import files
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import msgspec
from graphql import GraphQLError, GraphQLSchema, build_schema, execute, get_operation_ast

from stepwell.errors import StepwellError
from stepwell.server.api.graphql.documents import Documents, InvalidQuery
from stepwell.server.api.graphql.mutation import Mutation
from stepwell.server.api.graphql.query import Query
from stepwell.server.api.graphql.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from graphql import GraphQLAbstractType, GraphQLResolveInfo

    from stepwell.server.api.context import Context

__all__ = ["Asked", "Execution", "load_schema", "python_name"]

_log = logging.getLogger(__name__)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request.

    Attributes:
        may_change: Whether mutations are allowed: they are not in a GET.
    """

    query: str
    variables: dict[str, Any]
    operation: str | None
    may_change: bool


class Execution:
    """Answers requests over one schema."""

    def __init__(self, context: Context, thread: Executor) -> None:
        self._context = context
        self._schema = load_schema()
        self._documents = Documents(self._schema, thread)

    async def answer(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        """The HTTP status and the body; never raises for what the request is."""
        try:
            document = await self._documents.get(asked.query)
        except InvalidQuery as error:
            shown = [_shown(one.message, error.kind) for one in error.errors]
            return 422, {"errors": shown, "data": None}
        except StepwellError as error:
            return error.status, {"errors": [_shown(error.message, error.code)], "data": None}
        operation = get_operation_ast(document, asked.operation)
        if operation is None:
            message = "the request must name one operation of its document"
            return 422, {"errors": [_shown(message, "GRAPHQL_VALIDATION_FAILED")], "data": None}
        is_mutation = operation.operation.value == "mutation"
        if is_mutation and not asked.may_change:
            message = "a mutation must be sent with POST"
            return 405, {"errors": [_shown(message, "method_not_allowed")], "data": None}
        reading = Reading(self._context)
        result = execute(
            self._schema,
            document,
            Mutation(reading) if is_mutation else Query(reading),
            reading,
            asked.variables,
            asked.operation,
            field_resolver=_resolve,
            type_resolver=_type_of,
        )
        if isawaitable(result):
            result = await result
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = _told(result.errors)
        return 200, answer


def load_schema() -> GraphQLSchema:
    """The schema; takes a tenth of a second."""
    text = files("stepwell.server.api.graphql").joinpath("schema.graphql").read_text("utf-8")
    return build_schema(text)


@cache
def python_name(name: str) -> str:
    """What a field or an argument is called here: `outputID` is `output_id`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _resolve(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    reading: Reading = info.context
    reading.count_field()
    name = python_name(info.field_name)
    value = source[name] if isinstance(source, dict) else getattr(source, name)
    if callable(value):
        return value(**{python_name(key): given for key, given in arguments.items()})
    return value


def _type_of(value: Any, _info: GraphQLResolveInfo[Any], _type: GraphQLAbstractType) -> str:
    return type(value).__name__  # The members of the union have their types' names.


def _told(errors: Sequence[GraphQLError]) -> list[dict[str, Any]]:
    told = []
    for error in errors:
        cause = error.original_error
        if cause is None or isinstance(cause, GraphQLError):  # such as a variable of another type
            told.append(_shown(error.message, "invalid_request", error.path))
        elif isinstance(cause, StepwellError) and (cause.status < 500 or cause.status == 501):
            told.append(_shown(cause.message, cause.code, error.path))
        elif isinstance(cause, StepwellError) and cause.status == 503:
            _log.warning("not stored: %s", cause.message, extra={"code": cause.code})
            told.append(_shown("the server cannot store or read this now", cause.code, error.path))
        else:
            _log.error("unhandled error in a GraphQL field", exc_info=cause)
            message = "the server failed; its log says why"
            told.append(_shown(message, StepwellError.code, error.path))
    return told


def _shown(message: str, code: str, path: Sequence[str | int] | None = None) -> dict[str, Any]:
    shown: dict[str, Any] = {"message": message, "extensions": {"code": code}}
    if path:
        shown["path"] = list(path)
    return shown
