"""A call over HTTP: the request's headers, and what its answer, or the lack of one, came to.

Source: docs/reference/wire/http-sdk.md, "Calls over HTTP".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from stepwell.errors import OutboundError, WireError
from stepwell.wire.durations import retry_at_ms
from stepwell.wire.ids import ACCOUNT_ID
from stepwell.wire.json import Json, decode, decode_with, readable
from stepwell.wire.outcomes import (
    Raised,
    Returned,
    error_json,
    made_error,
    outcome_of_ops,
    result_json,
)

if TYPE_CHECKING:
    from stepwell.wire.outcomes import Outcome

ANSWER_BYTES_MAX = 8 * 2**20
"""A larger answer to a call is refused."""

SDK = "x-inngest-sdk"
HANDLED = "x-inngest-sdk-handled"
NO_RETRY = "x-inngest-no-retry"
VERSION = "x-inngest-req-version"
RETRY_AFTER = "retry-after"
STREAMED = 201
OPS = 206

_EXCERPT_BYTES = 8_192


def call_headers(
    *, run_id: str, step_id: str, version: int, request_id: str, job_id: str, generation: int
) -> dict[str, str]:
    """The headers of a call, all but its signature."""
    headers = {
        "Content-Type": "application/json",
        "Account-ID": ACCOUNT_ID,
        "X-Run-ID": run_id,
        "X-Inngest-Step-ID": step_id,
        "X-Inngest-Req-Version": str(version),
        "X-Request-ID": request_id,
        "X-Inngest-Job-ID": job_id,
    }
    if generation > 0:
        headers["X-Inngest-Generation-ID"] = str(generation)
    return headers


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. Names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def outcome_from_http(answer: Answer, *, now_ms: int) -> Outcome:
    """Read an answer. Never raises: one that makes no sense is a failed call."""
    if answer.status == STREAMED and SDK in answer.headers:
        streamed = _unwrapped(answer)
        if streamed is None:
            return _failed("stream_invalid", "The streamed answer of the app cannot be read.")
        answer = streamed
    no_retry = answer.headers.get(NO_RETRY, "").strip().lower() == "true"
    retry_after = answer.headers.get(RETRY_AFTER)
    retry_ms = None if not retry_after else retry_at_ms(retry_after, now_ms)
    if not 200 <= answer.status <= 299:
        return Raised(error=_error_of(answer), no_retry=no_retry, retry_at_ms=retry_ms)
    if SDK not in answer.headers:
        return _failed(
            "not_sdk",
            f"The answer (HTTP {answer.status}) did not come from an Inngest SDK: it has no "
            "X-Inngest-SDK header. Is the app's URL right?",
        )
    if answer.status == OPS:
        return outcome_of_ops(
            answer.body, no_retry=no_retry, retry_at_ms=retry_ms, version=_version(answer)
        )
    if no_retry or retry_ms is not None:
        # A success that forbids or delays a retry is how some SDKs report a failed function.
        return Raised(error=error_json(answer.body), no_retry=no_retry, retry_at_ms=retry_ms)
    return Returned(output=_result(answer.body))


def outcome_of_no_answer(error: OutboundError) -> Raised:
    """What a call came to that got no answer that could be read."""
    if error.code == "outbound_too_large":
        return Raised(
            error=made_error(
                "output_too_large",
                "Your function's response body exceeds the maximum size limit",
                error=f"output_too_large: {error.message}",
                code="output_too_large",
            ),
            no_retry=False,
            retry_at_ms=None,
        )
    return _failed("http_unreachable", f"Unable to reach SDK URL: {error.message}")


def outcome_of_defect() -> Raised:
    """What a call came to that the server itself failed to make, or whose answer to read."""
    return _failed("internal_error", "The server failed in this call.")


def outcome_of_unsendable(error: WireError) -> Raised:
    """What a call came to that cannot be written: no attempt will be better."""
    return Raised(
        error=made_error(
            "call_unsendable",
            f"The call cannot be sent: {error.message}",
            error=f"call_unsendable: {error.message}",
        ),
        no_retry=True,
        retry_at_ms=None,
        fatal=True,
    )


def _unwrapped(answer: Answer) -> Answer | None:
    """The answer inside a streamed one: spaces, then one object; None if there is none.

    Its status and headers count in place of those that went ahead of the stream. The body is a
    JSON value, or a text that holds one.
    """
    try:
        envelope = decode_with(_ENVELOPE, answer.body.strip())
        body = bytes(envelope.body)
        if body.startswith(b'"'):
            body = str(decode(body)).encode()
    except WireError:
        return None
    named = {name.lower(): _header(value) for name, value in (envelope.headers or {}).items()}
    sdk = {SDK: answer.headers[SDK]}
    return Answer(status=envelope.status, headers={**sdk, **named}, body=body)


class _Envelope(msgspec.Struct, frozen=True):
    status: int
    body: msgspec.Raw = msgspec.Raw(b"null")
    headers: dict[str, Json] | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def _header(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _result(body: bytes) -> bytes:
    """A function's result. A text that holds an object is that object."""
    output = result_json(body)
    if output.startswith(b'"'):
        text = str(decode(output)).strip()
        if text.startswith("{"):
            try:
                return readable(text.encode())
            except WireError:
                return output
    return output


def _version(answer: Answer) -> int:
    text = answer.headers.get(VERSION, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0


def _error_of(answer: Answer) -> bytes:
    """The error of an answer whose status says that the call failed."""
    if answer.status == 401 and (HANDLED in answer.headers or SDK in answer.headers):
        return made_error(
            "unauthorized",
            "The app refused the call's signature (HTTP 401): the server and the app must have "
            "the same signing key.",
            error="invalid status code: 401",
        )
    if SDK in answer.headers or HANDLED in answer.headers:
        return error_json(answer.body)
    message = f"Your server returned HTTP {answer.status} before the SDK responded."
    kind = answer.headers.get("content-type", "no content type")
    excerpt = answer.body[:_EXCERPT_BYTES].decode(errors="replace")
    return made_error(
        "Server returned a fatal error",
        message,
        error=message,
        stack="Something in front of the app, such as a proxy, or the app's framework answered "
        f"in place of the SDK.\n\nUpstream response ({kind}):\n{excerpt}",
    )


def _failed(name: str, message: str) -> Raised:
    return Raised(
        error=made_error(name, message, error=f"{name}: {message}"),
        no_retry=False,
        retry_at_ms=None,
    )
