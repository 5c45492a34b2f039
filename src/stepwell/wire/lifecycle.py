"""What events say of a run that has ended: `inngest/function.finished` and `.failed`.

Source: docs/reference/wire/events.md, "lifecycle events".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.errors import WireError
from stepwell.wire.json import Json, decode_with, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

FINISHED_EVENT = "inngest/function.finished"
FAILED_EVENT = "inngest/function.failed"
CANCELLED_EVENT = "inngest/function.cancelled"
INVOKED_EVENT = "inngest/function.invoked"
DEFERRED_EVENT = "inngest/deferred.schedule"
SCHEDULED_EVENT = "inngest/scheduled.timer"

FAILED_CALL = "invalid status code: 500"
"""The `error` of a failed call whose answer carried one, over Connect too."""

_SHOWN_CHARS_MAX = 8_192  # The whole of it is beside it, as the result.
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder(Json)


def error_object(output: bytes, error_text: str) -> bytes:
    """The `error` of a failed run: `{error, name, message, stack?, cause?}`.

    Args:
        output: What the call reported; an object with name and message if the SDK is one of ours
            or an official one, but anything is taken.
        error_text: The server's own words, unless the output brings its own.
    """
    try:
        fields = decode_with(_FIELDS, output)
    except WireError:
        fields = {}
    message = _text(fields, "message")
    error = {
        "error": _text(fields, "error") or error_text,
        "name": _text(fields, "name") or "Error",
        "message": _shown(output) if message is None else message,
    }
    if (stack := _text(fields, "stack")) is not None:
        error["stack"] = stack
    cause = fields.get("cause")
    if cause is None or bytes(cause) == b"null":
        return encode(error)
    return encode({**error, "cause": cause})


def finished_data(
    *,
    function_slug: str,
    run_id: str,
    status: str,
    event: bytes,
    events: Sequence[bytes],
    result: bytes | None,
    error: bytes | None,
) -> bytes:
    """The `data` of both events, assembled from stored JSON without decoding it."""
    parts = [b'{"_inngest":{"status":', encode(status), b"}"]
    if error:
        parts += (b',"error":', error)
    parts += (b',"event":', event, b',"events":[', b",".join(events))
    parts += (b'],"function_id":', encode(function_slug))
    if result:
        parts += (b',"result":', result)
    parts += (b',"run_id":', encode(run_id), b"}")
    return b"".join(parts)


def _text(fields: dict[str, msgspec.Raw], name: str) -> str | None:
    raw = fields.get(name)
    try:
        value = None if raw is None else decode_with(_ANY, bytes(raw))
    except WireError:  # a number that no double holds
        return None
    return value if isinstance(value, str) else None


def _shown(output: bytes) -> str:
    """An output that has no message of its own: its text if it is one, else its beginning."""
    try:
        value = decode_with(_ANY, output)
    except WireError:
        value = None
    text = value if isinstance(value, str) else output.decode(errors="replace")
    return text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "..."
