"""What of a request's options nobody shall read: kept apart, and gone when the request is over.

The history row tells a request for good, so it has "***" where there is a key. The fields that
have one are in a row of their own, which whoever makes the request reads as well. The body is told
as it is: what is in there, only its function knows.
Source: docs/reference/outbound.md, "Keys".
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

if TYPE_CHECKING:
    from urllib.parse import SplitResult

MASK = "***"
_MASK_JSON = msgspec.Raw(msgspec.json.encode(MASK))

_TELLING = (
    "auth",
    "cookie",
    "credential",
    "key",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
)
"""A header or a parameter with such a word in its name has a key. One too many does no harm."""

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


def part(options: bytes) -> tuple[bytes, bytes | None]:
    """Take a request's options apart.

    Args:
        options: As the op has them. They may be anything.
    Returns:
        What may be shown, and the fields that may not, as a JSON object; None if there are none.
    """
    try:
        fields = _FIELDS.decode(options)
    except msgspec.DecodeError:
        return b"null", None  # no such request can be made, and nobody knows what is in there
    shown = dict(fields)
    if "auth_key" in fields:
        shown["auth_key"] = _MASK_JSON
    if "headers" in fields:
        shown["headers"] = _shown_headers(fields["headers"])
    if "url" in fields:
        shown["url"] = _shown_url(fields["url"])
    secrets = {name: value for name, value in fields.items() if shown[name] is not value}
    # Written anew in any case: of a name that is there twice, the first value might be a key.
    return msgspec.json.encode(shown), msgspec.json.encode(secrets) if secrets else None


def joined(shown: bytes, secrets: bytes | None) -> bytes:
    """The options as they came, or what means the same."""
    if secrets is None:
        return shown
    return msgspec.json.encode({**_FIELDS.decode(shown), **_FIELDS.decode(secrets)})


def is_telling(name: str) -> bool:
    """Whether what has this name is probably a key."""
    lowered = name.lower()
    return any(word in lowered for word in _TELLING)


def _shown_headers(headers: msgspec.Raw) -> msgspec.Raw:
    try:
        fields = _FIELDS.decode(headers)
    except msgspec.DecodeError:
        return headers if bytes(headers) == b"null" else _MASK_JSON
    telling = [name for name in fields if is_telling(name)]
    if not telling:
        return headers
    masked = {**fields, **dict.fromkeys(telling, _MASK_JSON)}
    return msgspec.Raw(msgspec.json.encode(masked))


def _shown_url(url: msgspec.Raw) -> msgspec.Raw:
    try:
        parts = urlsplit(_TEXT.decode(url))
        shown = parts._replace(netloc=_shown_host(parts), query=_shown_query(parts.query))
    except ValueError:  # a text that is no URL, or no text at all
        return _MASK_JSON
    if shown == parts:
        return url
    return msgspec.Raw(msgspec.json.encode(urlunsplit(shown)))


def _shown_host(parts: SplitResult) -> str:
    user, at, host = parts.netloc.rpartition("@")
    return f"{MASK}@{host}" if at and user else parts.netloc


def _shown_query(query: str) -> str:
    given = parse_qsl(query, keep_blank_values=True)
    if not any(is_telling(name) for name, _value in given):
        return query
    masked = [(name, MASK if is_telling(name) else value) for name, value in given]
    return urlencode(masked, safe="*")
