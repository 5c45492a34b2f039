"""The request of one call: what a worker needs to run a function from the top.

The server assembles it from stored JSON by joining bytes, since it is the largest thing that it
sends; keys are in canonical order. The SDK reads it without looking into events and memos.
Source: docs/reference/wire/calls.md, "request".
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from stepwell.errors import WireError
from stepwell.wire.ids import UNTARGETED_STEP
from stepwell.wire.json import decode_with

if TYPE_CHECKING:
    from collections.abc import Sequence


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """The `ctx` of a call.

    Attributes:
        attempt: 0 for the first, of this job.
        max_attempts: None if the server does not say.
        step_id: What upstream's server puts here is always `step`; the step that a call is for
            comes with the call, not in it.
        stack: The ids of the remembered steps, in the order of their ends.
        current: The place after that of the step that led to this call.
        disable_immediate_execution: Report new steps instead of running one.
        use_api: Events and steps were too large to send, and are to be fetched.
    """

    run_id: str
    fn_id: str
    attempt: int
    max_attempts: int | None
    env: str
    step_id: str
    stack: tuple[str, ...]
    current: int
    qi_id: str
    request_id: str
    generation_id: int
    job_id: str
    disable_immediate_execution: bool
    use_api: bool


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call, as the SDK reads it. Events and memos stay JSON.

    Attributes:
        steps: From the id of each remembered step to its memo.
        version: The execution version of the run, -1 while none was chosen.
        defers: The ids of the steps that deferred a function.
    """

    event: msgspec.Raw
    events: list[msgspec.Raw]
    steps: dict[str, msgspec.Raw]
    ctx: CallContext
    version: int
    defers: tuple[str, ...] = ()


_ENCODER = msgspec.json.Encoder()
_quoted = lru_cache(maxsize=8_192)(_ENCODER.encode)  # ids that come again with each call


def encode_call(
    *,
    attempt: int,
    max_attempts: int,
    fn_id: str,
    request_id: str,
    job_id: str,
    generation: int,
    disable_immediate_execution: bool,
    qi_id: str,
    rest: bytes,
) -> bytes:
    """Write a call.

    Args:
        generation: Of the job's dispatch; 0 is not sent.
        rest: What it shares with the calls beside it, by `encode_rest`.
    """
    write = _ENCODER.encode
    job = write(job_id)
    return b"".join(
        (
            b'{"ctx":{"attempt":%d,"disable_immediate_execution":' % attempt,
            _TRUE if disable_immediate_execution else _FALSE,
            b',"env":"","fn_id":',
            _quoted(fn_id),
            b',"generation_id":%d' % generation if generation else b"",
            b',"job_id":' + job if job_id else b"",
            b',"max_attempts":%d,"qi_id":' % max_attempts,
            job if qi_id == job_id else write(qi_id),
            b',"request_id":' + write(request_id) if request_id else b"",
            rest,
        )
    )


def encode_rest(
    *,
    event: bytes,
    events: Sequence[bytes],
    steps: Sequence[bytes],
    run_id: str,
    stack: Sequence[str],
    current: int,
    use_api: bool,
    version: int,
    defers: Sequence[str] = (),
) -> bytes:
    """Write the end of a call, which is the same for all calls that a run gives out together.

    Args:
        event: The whole event object; `events` has it too, and those of its batch.
        steps: The remembered steps, by `encode_step`, in the order of their ids.
        stack: The ids of the steps in the order of their ends.
        current: Where in `stack` this call begins: 1 + the place of the step that led to it.
        defers: The ids of the steps that deferred a function; each can still be withdrawn.
    """
    api = _TRUE if use_api else _FALSE
    return b"".join(
        (
            b',"run_id":',
            _quoted(run_id),
            b',"stack":{"current":%d,"stack":[' % current,
            b",".join(map(_quoted, stack)),
            b']},"step_id":"step","use_api":',
            api,
            b'},"defers":{',
            _defers(defers) if defers else b"",
            b'},"event":',
            event,
            b',"events":[',
            b",".join(events),
            b'],"steps":{',
            b",".join(steps),
            b'},"use_api":',
            api,
            b',"version":%d}' % version,
        )
    )


def encode_step(step_id: str, memo: bytes) -> bytes:
    """Write a remembered step."""
    return b"%b:%b" % (_quoted(step_id), memo)


def _defers(defers: Sequence[str]) -> bytes:
    return b",".join([b'%b:{"abortable":true}' % _quoted(step_id) for step_id in sorted(defers)])


def decode_call(raw: bytes) -> Call:
    """Read a call. What a server leaves out, or sends as null, is what it means by that.

    Raises:
        WireError: `call_invalid`.
    """
    try:
        given = decode_with(_CALL, raw)
    except WireError as error:
        raise WireError(
            f"the server's request cannot be read: {error.message}", code="call_invalid"
        ) from error
    ctx, stack = given.ctx, given.ctx.stack or _NO_STACK
    return Call(
        event=given.event,
        events=given.events or [],
        steps=given.steps or {},
        ctx=CallContext(
            run_id=ctx.run_id,
            fn_id=ctx.fn_id or "",
            attempt=ctx.attempt or 0,
            max_attempts=ctx.max_attempts,
            env=ctx.env or "",
            step_id=ctx.step_id or UNTARGETED_STEP,
            stack=tuple(stack.stack or ()),
            current=stack.current or 0,
            qi_id=ctx.qi_id or "",
            request_id=ctx.request_id or "",
            generation_id=ctx.generation_id or 0,
            job_id=ctx.job_id or "",
            disable_immediate_execution=bool(ctx.disable_immediate_execution),
            use_api=bool(ctx.use_api or given.use_api),
        ),
        version=-1 if given.version is None else given.version,
        defers=tuple(given.defers or ()),
    )


class _GivenStack(msgspec.Struct, frozen=True, kw_only=True):
    stack: list[str] | None = None
    current: int | None = None


class _GivenContext(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    fn_id: str | None = None
    attempt: int | None = None
    max_attempts: int | None = None
    env: str | None = None
    step_id: str | None = None
    stack: _GivenStack | None = None
    qi_id: str | None = None
    request_id: str | None = None
    generation_id: int | None = None
    job_id: str | None = None
    disable_immediate_execution: bool | None = None
    use_api: bool | None = None


class _GivenCall(msgspec.Struct, frozen=True, kw_only=True):
    event: msgspec.Raw
    ctx: _GivenContext
    events: list[msgspec.Raw] | None = None
    steps: dict[str, msgspec.Raw] | None = None
    defers: dict[str, msgspec.Raw] | None = None
    version: int | None = None
    use_api: bool | None = None


_CALL = msgspec.json.Decoder(_GivenCall)
_NO_STACK = _GivenStack()
_TRUE = b"true"
_FALSE = b"false"
