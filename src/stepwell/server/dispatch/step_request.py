"""What a step asks the server to request, and what it gets of the answer. Pure.

Source: docs/reference/wire/waits.md, "Gateway and AIGateway".
"""

from __future__ import annotations

from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit, urlunsplit

import msgspec

from stepwell.errors import WireError
from stepwell.wire.json import encode, readable

_ERROR_STATUS_MIN = 300
_RETRYABLE = frozenset({408, 409, 425, 429})
_SHOWN_CHARS_MAX = 8_192


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A request to make."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    secret: str = ""
    """May stand in the URL, and shall not stand in an error."""

    def told(self, message: str) -> str:
        """The message without the secret."""
        if not self.secret:
            return message
        for shown in (self.secret, quote_plus(self.secret)):
            message = message.replace(shown, "...")
        return message


class Came(msgspec.Struct, frozen=True, kw_only=True):
    """What the step gets: `data`, or `error` if there is one; both are JSON."""

    data: bytes = b"null"
    error: bytes | None = None
    no_retry: bool = False


class _Fetch(msgspec.Struct):
    url: str
    method: str | None = None
    headers: dict[str, str | list[str]] | None = None
    body: str | None = None


class _Infer(msgspec.Struct):
    url: str
    headers: dict[str, str] | None = None
    auth_key: str | None = None
    format: str | None = None
    body: msgspec.Raw = msgspec.Raw(b"null")


_FETCH = msgspec.json.Decoder(_Fetch)
_INFER = msgspec.json.Decoder(_Infer)


def wanted_fetch(options: bytes) -> Wanted:
    """Read the options of a `Gateway` op.

    Raises:
        WireError: `request_invalid`.
    """
    try:
        given = _FETCH.decode(options)
    except msgspec.DecodeError as error:
        raise _invalid(error) from error
    headers = {
        name: value if isinstance(value, str) else ", ".join(value)
        for name, value in (given.headers or {}).items()
    }
    return Wanted(
        method=(given.method or "POST").upper(),
        url=given.url,
        headers=headers,
        body=None if given.body is None else given.body.encode(),
    )


def wanted_infer(options: bytes) -> Wanted:
    """Read the options of an `AIGateway` op; the key goes where its provider looks for it.

    Raises:
        WireError: `request_invalid`.
    """
    try:
        given = _INFER.decode(options)
    except msgspec.DecodeError as error:
        raise _invalid(error) from error
    headers = {"Content-Type": "application/json", **(given.headers or {})}
    url = given.url
    if given.auth_key:
        match (given.format or "").lower():
            case "anthropic":
                headers["x-api-key"] = given.auth_key
            case "bedrock":
                headers["Authorization"] = given.auth_key
            case "gemini":
                url = _with_key(url, given.auth_key)
            case _:
                headers["Authorization"] = f"Bearer {given.auth_key}"
    return Wanted(
        method="POST",
        url=url,
        headers=headers,
        body=bytes(given.body),
        secret=given.auth_key or "",
    )


def came_fetch(*, url: str, status: int, headers: dict[str, str], body: bytes) -> Came:
    """Any status is an answer."""
    return Came(
        data=encode(
            {
                "body": body.decode(errors="replace"),
                "headers": dict(headers),
                "status_code": status,
                "url": url,
            }
        )
    )


def came_infer(*, status: int, body: bytes) -> Came:
    """A provider's answer; a refusal is an error, with what the provider says of it."""
    text = body.decode(errors="replace")
    if status >= _ERROR_STATUS_MIN:
        shown = text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "..."
        try:
            said = msgspec.Raw(readable(body))
        except WireError:
            said = msgspec.Raw(msgspec.json.encode(shown))
        error = msgspec.json.encode(
            {
                "data": said,
                "message": f"the provider answered with status {status}",
                "name": "AIGatewayError",
                "stack": shown,
            }
        )
        return Came(error=error, no_retry=status < 500 and status not in _RETRYABLE)
    try:
        return Came(data=readable(body))
    except WireError:
        return Came(data=msgspec.json.encode(text))


def came_to_nothing(name: str, message: str, code: str, *, no_retry: bool) -> Came:
    """There was no answer."""
    error = encode({"code": code, "error": f"{code}: {message}", "message": message, "name": name})
    return Came(error=error, no_retry=no_retry)


def _with_key(url: str, key: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _invalid(error) from error
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "key"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("key", key)])))


def _invalid(error: Exception) -> WireError:
    return WireError(f"the request of this step cannot be made: {error}", code="request_invalid")
