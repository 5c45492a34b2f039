"""Ops: what an SDK reports about the steps of a run.

Source: docs/reference/wire/ops.md.
"""

from __future__ import annotations

from typing import Final

import msgspec

from stepwell.errors import LimitExceeded, WireError
from stepwell.wire.fields import FieldNames
from stepwell.wire.json import Json, decode, decode_with, encode
from stepwell.wire.quoting import quoted, shortened

STEP_RUN: Final = "StepRun"
STEP: Final = "Step"
STEP_ERROR: Final = "StepError"
STEP_FAILED: Final = "StepFailed"
STEP_PLANNED: Final = "StepPlanned"
SLEEP: Final = "Sleep"
WAIT_FOR_EVENT: Final = "WaitForEvent"
WAIT_FOR_SIGNAL: Final = "WaitForSignal"
INVOKE_FUNCTION: Final = "InvokeFunction"
GATEWAY: Final = "Gateway"
AI_GATEWAY: Final = "AIGateway"
DEFER_ADD: Final = "DeferAdd"
DEFER_ABORT: Final = "DeferAbort"
RUN_COMPLETE: Final = "RunComplete"
DISCOVERY_REQUEST: Final = "DiscoveryRequest"
NONE: Final = "None"

OPS_PER_RESPONSE_MAX = 1_000
"""More operations than this in one response fail the run."""

STEP_BYTES_MAX = 4 * 2**20
"""A step's output may have this many bytes of JSON, and so may what it was given."""

STEP_ID_CHARS_MAX = 512
"""The protocol states no limit; SDKs send 40 characters."""

LABEL_CHARS_MAX = 512
"""A step's name is for people, and is stored with all that is told of the step."""


class OpError(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The error of a failed step, as SDKs write it. Unknown keys are dropped."""

    name: str = "Error"
    message: str = ""
    stack: str | None = None
    no_retry: bool | None = None
    data: msgspec.Raw | None = None
    cause: msgspec.Raw | None = None


class Userland(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A step's id before hashing, and which use of that id it is (0 for the first)."""

    id: str
    index: int | None = None


class Op(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """One operation, decoded. `data` and `opts` stay bytes.

    `op` is spelled as in this module's constants, whatever letter case the SDK used; an op that
    we do not know keeps the SDK's spelling, and the engine refuses it by name.
    """

    op: str
    id: str
    name: str = ""
    display_name: str = ""
    opts: msgspec.Raw = msgspec.Raw(b"null")
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw | None = None
    userland: Userland | None = None
    timing: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET

    @property
    def label(self) -> str:
        """What people call this step, or the beginning of it."""
        user_id = self.userland.id if self.userland else ""
        label = self.display_name or user_id or self.name or self.id
        return shortened(label, LABEL_CHARS_MAX)


def parse_ops(body: bytes) -> tuple[Op, ...]:
    """Read what a call reported: an array of operations, or a single one.

    `data`, `opts` and `error` are parts of `body`, not copies. An error is an object; it and the
    result of a function can be decoded, while other `data` may hold numbers that no double holds.

    Raises:
        WireError: `ops_invalid`.
        LimitExceeded: `ops_too_many`, `step_output_too_large`, `step_input_too_large`.
    """
    body = body.strip(_SPACE)
    single = body[:1] == b"{"
    try:
        given = _read(b"[%b]" % body if single else body)
        if single and len(given) != 1:
            raise WireError("there is text after the object")
    except WireError as error:
        raise WireError(
            f"the response is not a list of operations: {error.message}", code="ops_invalid"
        ) from error
    if len(given) > OPS_PER_RESPONSE_MAX:
        raise LimitExceeded(
            "one response reports too many operations",
            code="ops_too_many",
            limit=OPS_PER_RESPONSE_MAX,
            seen=len(given),
            hint="report steps in smaller groups",
        )
    is_large = len(body) > STEP_BYTES_MAX  # else nothing in it can be too large
    return tuple([_op(op, number, is_large=is_large) for number, op in enumerate(given, 1)])


class _GivenUserland(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    id: str | None = None
    index: int | None = None


class _GivenOp(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    gc=False,
):
    op: str | None = None
    id: str | None = None
    name: str | None = None
    display_name: str | None = None
    opts: msgspec.Raw = msgspec.Raw(b"null")
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")
    userland: _GivenUserland | None = None
    timing: msgspec.Raw = msgspec.Raw(b"null")
    metadata: msgspec.Raw = msgspec.Raw(b"null")


_SPACE = b" \t\r\n"
_OBJECT = msgspec.json.Decoder(dict[str, Json])
_SPELLING = {
    spelling: name
    for name in (
        STEP_RUN,
        STEP,
        STEP_ERROR,
        STEP_FAILED,
        STEP_PLANNED,
        SLEEP,
        WAIT_FOR_EVENT,
        WAIT_FOR_SIGNAL,
        INVOKE_FUNCTION,
        GATEWAY,
        AI_GATEWAY,
        DEFER_ADD,
        DEFER_ABORT,
        RUN_COMPLETE,
        DISCOVERY_REQUEST,
        NONE,
    )
    for spelling in (name, name.lower())
}
_FIELDS = FieldNames(_GivenOp.__struct_encode_fields__)
_OPS = msgspec.json.Decoder(list[_GivenOp])
_ANY_CASE_OPS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def _read(body: bytes) -> list[_GivenOp]:
    try:
        return decode_with(_OPS, body)
    except WireError:
        # Unknown keys, another letter case, or a mistake: told apart by reading it once more.
        fields = decode_with(_ANY_CASE_OPS, body)
        return decode_with(_OPS, encode([_FIELDS.spell(op) for op in fields]))


def _op(given: _GivenOp, number: int, *, is_large: bool) -> Op:
    if not given.op:
        raise WireError(f"operation {number} has no op", code="ops_invalid")
    op = _SPELLING.get(given.op) or _SPELLING.get(given.op.lower(), given.op)
    step_id = given.id or ""
    if not step_id and op != NONE:
        raise WireError(f"{_where(number, op)} has no id", code="ops_invalid")
    if len(step_id) > STEP_ID_CHARS_MAX:
        raise WireError(
            f"{_where(number, op)} has an id of {len(step_id)} characters, at most "
            f"{STEP_ID_CHARS_MAX} are allowed",
            code="ops_invalid",
        )
    userland = given.userland
    error = bytes(given.error)
    parsed = Op(
        op=op,
        id=step_id,
        name=given.name or "",
        display_name=given.display_name or "",
        opts=given.opts,
        data=given.data,
        error=None if error == b"null" else given.error,
        userland=(
            Userland(id=userland.id, index=userland.index)
            if userland is not None and userland.id
            else None
        ),
        timing=msgspec.UNSET if bytes(given.timing) == b"null" else given.timing,
    )
    if is_large:
        _check_sizes(parsed)
    try:
        if parsed.error is not None:
            decode_with(_OBJECT, error)
        if op == RUN_COMPLETE:
            decode(bytes(parsed.data))
    except WireError as unreadable:
        raise WireError(
            f"{_where(number, op)} has an error or a result that cannot be read: "
            f"{unreadable.message}",
            code="ops_invalid",
        ) from unreadable
    return parsed


def _where(number: int, op: str) -> str:
    return f"operation {number} ({shortened(op)})"


def _check_sizes(op: Op) -> None:
    # The result of a function is no step's output: what carries it bounds it.
    output = memoryview(op.data).nbytes if op.op != RUN_COMPLETE else 0
    if op.error is not None:
        output = max(output, memoryview(op.error).nbytes)
    if output > STEP_BYTES_MAX:
        raise LimitExceeded(
            f"the output of step {quoted(op.label)} is too large",
            code="step_output_too_large",
            limit=STEP_BYTES_MAX,
            seen=output,
            hint="store it elsewhere and return a reference",
        )
    given = memoryview(op.opts).nbytes
    if given > STEP_BYTES_MAX:
        raise LimitExceeded(
            f"the input of step {quoted(op.label)} is too large",
            code="step_input_too_large",
            limit=STEP_BYTES_MAX,
            seen=given,
            hint="store it elsewhere and pass a reference",
        )
