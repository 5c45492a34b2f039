"""The shapes of answers: JSON, the two envelopes, and every error.

Source: docs/reference/http-api.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from stepwell.wire.durations import format_iso_ms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepwell.server.api.context import Context

V2_PREFIXES = ("/v2/", "/api/v2/")

_encode = msgspec.json.Encoder().encode


def common_headers(context: Context) -> list[tuple[bytes, bytes]]:
    """What every answer carries."""
    kind = context.settings.server_kind.encode()
    return [(b"x-inngest-server-kind", kind), (b"vary", b"Origin")]


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Any JSON value; `msgspec.Raw` inside it goes out as it is."""
    return Response(_encode(content), status, headers, "application/json")


def raw(payload: bytes | None) -> msgspec.Raw | None:
    """Stored JSON, spliced into an answer without decoding; nothing is `null`."""
    return msgspec.Raw(payload) if payload else None


def iso(ms: int | None) -> str | None:
    """An instant as RFC 3339 text, or `null`."""
    return None if ms is None else format_iso_ms(ms)


def v1_data(data: Any, *, now_ms: int) -> Response:
    """The envelope of a successful `/v1` answer."""
    return json_response({"data": data, "metadata": {"fetched_at": iso(now_ms)}})


def v2_data(data: Any, *, now_ms: int, page: dict[str, Any] | None = None) -> Response:
    """The envelope of a successful `/v2` answer; an empty list of data is left out."""
    content: dict[str, Any] = {} if data == [] else {"data": data}
    content["metadata"] = {"fetchedAt": iso(now_ms), "cachedUntil": None}
    if page is not None:
        content["page"] = page
    return json_response(content)


def without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `/v2` object whose value is not null, empty or zero."""
    return {name: value for name, value in fields.items() if value not in (None, "", 0, [], {})}


def error_response(
    path: str,
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    *,
    data: Any = None,
) -> Response:
    """An error in the shape that the clients of this path expect; `data` is for those of `/v1`."""
    content: dict[str, Any]
    if path.startswith("/e/"):
        content = {"ids": [], "status": status, "code": code, "error": message}
    elif path.startswith(V2_PREFIXES):
        content = {"errors": [{"code": code, "message": message}]}
    else:
        content = {"code": code, "error": message, "data": data, "status": status}
    return json_response(content, status, headers)
