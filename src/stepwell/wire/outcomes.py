"""What one call came to, whatever carried its answer.

Source: docs/reference/wire/calls.md, "answers".
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from stepwell.errors import LimitExceeded, WireError
from stepwell.wire.connect import Status
from stepwell.wire.durations import retry_at_ms as read_retry_after
from stepwell.wire.json import decode, encode, readable
from stepwell.wire.ops import Op, parse_ops

_NOT_COMPLETED, _DONE = int(Status.NOT_COMPLETED), int(Status.DONE)
_EMPTY = b"null"
_NAMES = {"ops_too_many": "InngestErrFunctionOverflowed"}  # Names that users know.


class Ops(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Steps to record or to plan.

    Attributes:
        no_retry: A step that failed in it has failed for good.
        retry_at_ms: When such a step is tried again, if the SDK names a time.
        version: The execution version that the SDK used, 0 if it does not say.
    """

    ops: tuple[Op, ...]
    no_retry: bool
    retry_at_ms: int | None
    version: int


class Returned(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The function's result: always one JSON value."""

    output: bytes


class Raised(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The call failed.

    Attributes:
        error: A JSON object; `name` and `message` if the SDK gave them.
        fatal: The run fails now, whatever attempts are left.
    """

    error: bytes
    no_retry: bool
    retry_at_ms: int | None
    fatal: bool = False


Outcome: TypeAlias = Ops | Returned | Raised


def outcome_from_connect(
    *,
    status: int,
    body: bytes,
    no_retry: bool,
    retry_after: str | None,
    request_version: int,
    now_ms: int,
) -> Outcome:
    """Read a worker's reply. Never raises: a reply that makes no sense is a failed call."""
    retry_ms = None if not retry_after else read_retry_after(retry_after, now_ms)
    if status == _NOT_COMPLETED:
        return outcome_of_ops(
            body, no_retry=no_retry, retry_at_ms=retry_ms, version=request_version
        )
    if status == _DONE and not no_retry and retry_ms is None:
        return Returned(output=result_json(body))
    # DONE that forbids or delays a retry is how some SDKs report a failed function.
    return Raised(error=error_json(body), no_retry=no_retry, retry_at_ms=retry_ms)


def result_json(body: bytes) -> bytes:
    """A function's result as one JSON value: text that is not JSON becomes a JSON string."""
    if not body:
        return _EMPTY
    try:
        return readable(body)
    except WireError:
        return encode(body.decode(errors="replace"))


def error_json(body: bytes) -> bytes:
    """What a failed call reported, as a JSON object."""
    try:
        text = readable(body)
        value = decode(text)
    except WireError:
        return made_error("Error", body.decode(errors="replace"))
    if isinstance(value, dict):
        return text
    return made_error("Error", value if isinstance(value, str) else text.decode())


def outcome_of_ops(
    body: bytes, *, no_retry: bool, retry_at_ms: int | None, version: int
) -> Ops | Raised:
    """Read operations; what is none is a failed call."""
    try:
        ops = parse_ops(body)
    except LimitExceeded as error:
        return Raised(error=_own_error(error), no_retry=True, retry_at_ms=None, fatal=True)
    except WireError as error:
        return Raised(error=_own_error(error), no_retry=no_retry, retry_at_ms=retry_at_ms)
    return Ops(ops=ops, no_retry=no_retry, retry_at_ms=retry_at_ms, version=version)


def made_error(name: str, message: str, **more: str) -> bytes:
    """The error of a call that the server found, rather than the function raised."""
    return encode({**more, "name": name, "message": message})


def _own_error(error: LimitExceeded | WireError) -> bytes:
    name = _NAMES.get(error.code, error.code)
    return made_error(name, error.message, error=f"{name}: {error.message}", code=error.code)
