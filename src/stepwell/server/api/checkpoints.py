"""`POST /v1/checkpoint/{run}/async`: an SDK reports finished steps of a call that goes on.

Source: docs/reference/wire/checkpoints.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from stepwell.errors import LimitExceeded, StaleReport, StepwellError, WireError
from stepwell.server.api.bodies import read_body
from stepwell.server.api.responses import error_response
from stepwell.wire.ids import RequestId, RunId, parse_ulid, ulid_text
from stepwell.wire.json import decode_with
from stepwell.wire.ops import parse_ops

if TYPE_CHECKING:
    from starlette.requests import Request

    from stepwell.server.api.context import Context
    from stepwell.server.runtime import CheckpointRefusal

CHECKPOINT_BYTES_MAX = 64 * 2**20
"""A run's whole state, and as much again: SDKs repeat what steps were given beside outputs."""

_OF_NO_JOB = -1
_ITEM = re.compile(r"(\w+)-([0-9]{1,18})-([0-9]{1,18})")


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

        Refusals name the run, once it is known. An SDK that goes away is not missed: what came
        whole is stored all the same.

        Raises:
            WireError: 400 `checkpoint_invalid`.
            LimitExceeded: 413 `request_too_large`.
            StoreError: 503.
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
        except WireError as error:
            raise _unreadable(error) from error
        try:
            await self._store(run_id, given)
        except StepwellError as error:
            if error.status >= 500:
                raise
            data = {"run_id": ulid_text(run_id)}
            path = request.scope["path"]
            return error_response(path, error.status, error.code, error.message, data=data)
        return Response(status_code=200, media_type="application/json")

    async def _store(self, run_id: RunId, given: _Body) -> None:
        try:
            ops = parse_ops(bytes(given.steps)) if bytes(given.steps) != b"null" else ()
        except WireError as error:
            raise _unreadable(error) from error
        job_no, generation = _item(given.qi_id, run_id)
        refusal = await self._context.runtime.checkpoint(
            run_id,
            request_id=_request_id(given.request_id),
            job_no=job_no,
            generation=given.generation_id or generation,
            ops=ops,
        )
        if refusal is not None:
            raise _refused(refusal)


def _unreadable(error: WireError) -> WireError:
    return WireError(f"invalid request body: {error.message}", code="checkpoint_invalid")


def _refused(refusal: CheckpointRefusal) -> StepwellError:
    match refusal:
        case "run_not_found":
            return WireError("run not found in state store", code="run_not_found")
        case "op_not_allowed":
            return WireError("cannot checkpoint async steps", code="op_not_allowed")
        case "call_stale":
            return StaleReport("stale dispatch: the call was given out again, or is over")
        case "run_state_too_large":
            return LimitExceeded(
                "the run's steps would be too large together",
                code="run_state_too_large",
                hint="store large outputs elsewhere and return references",
            )


def _request_id(text: str | None) -> RequestId | None:
    if not text:
        return None
    try:
        return RequestId(parse_ulid(text))
    except WireError:
        return RequestId(b"")  # of no call


def _item(qi_id: str | None, run_id: RunId) -> tuple[int | None, int | None]:
    """The job and its generation in `<run>-<job>-<generation>`, which calls carry as their queue
    item; a job that is None may be any."""
    if not qi_id:
        return None, None
    found = _ITEM.fullmatch(qi_id)
    if found is None or found[1] != ulid_text(run_id):
        return _OF_NO_JOB, None
    return int(found[2]), int(found[3])
