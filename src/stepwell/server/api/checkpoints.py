"""`POST /v1/checkpoint/{run}/async`: an SDK reports finished steps of a call that goes on.

Source: docs/reference/wire/checkpoints.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from stepwell.errors import StaleReport, WireError
from stepwell.server.api.bodies import read_body
from stepwell.wire.ids import RequestId, RunId, parse_ulid
from stepwell.wire.json import decode_with
from stepwell.wire.ops import parse_ops

if TYPE_CHECKING:
    from starlette.requests import Request

    from stepwell.server.api.context import Context

CHECKPOINT_BYTES_MAX = 16 * 2**20
"""Outputs are bounded one by one; SDKs send much beside them."""


class _Body(msgspec.Struct):
    run_id: str
    qi_id: str | None = None
    request_id: str | None = None
    generation_id: int | None = None
    steps: msgspec.Raw = msgspec.Raw(b"[]")


_BODY = msgspec.json.Decoder(_Body)


class Checkpoints:
    """Reports without an end."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [
            Route(f"{prefix}/{{run_id}}/async", self.checkpoint, methods=["POST"])
            for prefix in ("/v1/checkpoint", "/v1/http/runs")
        ]

    async def checkpoint(self, request: Request) -> Response:
        """Durable when it answers; the same steps again change nothing.

        Raises:
            WireError: 400 `checkpoint_invalid`, `run_not_found` or `op_not_allowed`.
            StaleReport: 409: the call is not the current one of its job any more.
            LimitExceeded: 413.
        """
        body = await read_body(
            request.receive,
            dict(request.scope["headers"]),
            bytes_max=CHECKPOINT_BYTES_MAX,
            timeout_s=self._context.body_timeout_s,
        )
        try:
            given = decode_with(_BODY, body)
            run_id = RunId(parse_ulid(given.run_id))
            ops = parse_ops(bytes(given.steps)) if bytes(given.steps) != b"null" else ()
        except WireError as error:
            raise WireError(
                f"invalid request body: {error.message}", code="checkpoint_invalid"
            ) from error
        if not ops:
            return _taken()
        refusal = await self._context.runtime.checkpoint(
            run_id,
            request_id=_request_id(given.request_id),
            job_no=_job_no(given.qi_id, given.run_id),
            generation=given.generation_id,
            ops=ops,
        )
        match refusal:
            case None:
                return _taken()
            case "run_not_found":
                raise WireError("run not found in state store", code=refusal)
            case "op_not_allowed":
                raise WireError("cannot checkpoint async steps", code=refusal)
            case _:
                raise StaleReport("stale dispatch: the call was given out again, or is over")


def _taken() -> Response:
    return Response(status_code=200, media_type="application/json")


def _request_id(text: str | None) -> RequestId | None:
    if not text:
        return None
    try:
        return RequestId(parse_ulid(text))
    except WireError:
        return RequestId(b"")  # of no call


def _job_no(qi_id: str | None, run_id: str) -> int | None:
    """The number in `<run>-<number>`, which calls carry as their queue item."""
    prefix, _dash, number = (qi_id or "").rpartition("-")
    return int(number) if prefix == run_id and number.isascii() and number.isdigit() else None
