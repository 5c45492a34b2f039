"""`/v0/gql` over HTTP: a POST with JSON, or a GET with the same names in its query.

Source: docs/reference/graphql.md.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.routing import Route

from stepwell.errors import ConfigError, WireError
from stepwell.server.api.bodies import read_body
from stepwell.server.api.responses import json_response
from stepwell.wire.json import decode_with

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from stepwell.server.api.context import Context
    from stepwell.server.api.graphql.execution import Execution

ROOM_BESIDE_EVENT = 256 * 2**10
"""What a body may have beside the data of an event: the query, and other variables."""


class _Body(msgspec.Struct, rename="camel"):
    query: str | None = None
    variables: dict[str, Any] | None = None
    operation_name: str | None = None


_BODY = msgspec.json.Decoder(_Body)
_VARIABLES = msgspec.json.Decoder(dict[str, Any] | None)


class GraphQL:
    """The route. Its schema is made with the first request."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._execution: Execution | None = None
        self._loading = asyncio.Lock()

    def routes(self) -> list[Route]:
        return [Route("/v0/gql", self.answer, methods=["GET", "POST"])]

    async def answer(self, request: Request) -> Response:
        """200 with data, and errors if there are any; another status if nothing was asked for.

        Raises:
            WireError: 400, the request cannot be read.
            LimitExceeded: 413.
        """
        execution = self._execution or await self._load()
        body = await self._read(request)
        if not body.query:
            raise WireError("the request has no query", code="invalid_request")
        from stepwell.server.api.graphql.execution import Asked

        status, answer = await execution.answer(
            Asked(
                query=body.query,
                variables=body.variables or {},
                operation=body.operation_name or None,
                may_change=request.method == "POST",
            )
        )
        return json_response(answer, status)

    async def _read(self, request: Request) -> _Body:
        if request.method != "POST":
            query = request.query_params
            return _Body(
                query=query.get("query"),
                variables=decode_with(_VARIABLES, query.get("variables") or "null"),
                operation_name=query.get("operationName"),
            )
        body = await read_body(
            request.receive,
            dict(request.scope["headers"]),
            bytes_max=self._context.settings.event_bytes_max + ROOM_BESIDE_EVENT,
            timeout_s=self._context.body_timeout_s,
        )
        return decode_with(_BODY, body)

    async def _load(self) -> Execution:
        """Import what answers, beside the loop: it takes half a second."""
        async with self._loading:
            if self._execution is None:
                thread = ThreadPoolExecutor(1, thread_name_prefix="stepwell-graphql")
                loop = asyncio.get_running_loop()
                self._execution = await loop.run_in_executor(
                    thread, _make_execution, self._context, thread
                )
                self._context.on_close(thread.shutdown)
        return self._execution


def _make_execution(context: Context, thread: ThreadPoolExecutor) -> Execution:
    try:
        from stepwell.server.api.graphql.execution import Execution
    except ImportError as error:
        raise ConfigError(
            f"GraphQL needs the package graphql-core, which is not installed ({error}); "
            "pip install 'stepwell[server]'",
            code="not_implemented",
            status=501,
        ) from error
    return Execution(context, thread)
