"""A sync that the server begins: what it sends to an app's URL, and what the answer means.

Source: docs/reference/wire/http-sdk.md, "Syncs".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from stepwell.errors import OutboundError, WireError
from stepwell.wire.functions import Registration, parse_in_band
from stepwell.wire.http_calls import SDK
from stepwell.wire.json import Json, canonical, decode, encode

if TYPE_CHECKING:
    from stepwell.wire.http_calls import Answer

SYNC_KIND = "x-inngest-sync-kind"
IN_BAND = "in_band"

_TEXT_CHARS_MAX = 500


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """The app has registered by itself."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The app said in its answer which functions it has."""

    registration: Registration


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing came of it: a word for programs, and a text for people."""

    reason: str
    text: str


SyncAnswer: TypeAlias = Took | Told | Refused


def sync_body(url: str) -> bytes:
    """The body of a sync, in the form that is signed."""
    return canonical(encode({"url": url}))


def read_sync_answer(answer: Answer, *, url: str) -> SyncAnswer:
    """What an app's answer means. Never raises.

    An app that answers with its configuration is believed whatever it says of the kind of sync:
    one SDK does so for every sync that is signed.
    """
    fields = _object(answer.body)
    if not 200 <= answer.status <= 299:
        return _failed(answer, fields, url)
    if SDK not in answer.headers:
        return Refused(
            reason="not_sdk",
            text=f"{url} answered HTTP {answer.status}, but no Inngest SDK did: the answer has no "
            "X-Inngest-SDK header",
        )
    if is_in_band(answer):
        try:
            return Told(registration=parse_in_band(answer.body, url=url))
        except WireError as error:
            return Refused(reason=error.code, text=f"{url}: {error.message}")
    # Two SDKs answer 200 when the server has refused their registration; the text tells.
    said = _text(fields, "error") or _text(fields, "message")
    if said and fields.get("ok") is not True and said.lower() != "successfully registered":
        reason = _text(fields, "code") or "registration_refused"
        return Refused(reason=reason, text=f"{url}: {said}")
    return Took()


def is_in_band(answer: Answer) -> bool:
    """Whether the answer holds the app's configuration."""
    if answer.headers.get(SYNC_KIND, "").strip().lower() == IN_BAND:
        return True
    return isinstance(_object(answer.body).get("functions"), list)


def refused_by_network(error: OutboundError) -> Refused:
    """What it means that no app answered."""
    reasons = {
        "outbound_url_invalid": "unsupported_protocol",
        "outbound_address_refused": "address_refused",
    }
    return Refused(reason=reasons.get(error.code, "unreachable"), text=error.message)


def _failed(answer: Answer, fields: dict[str, Json], url: str) -> Refused:
    said = _text(fields, "message") or _text(fields, "error") or _text(fields, "code")
    shown = said or answer.body[:_TEXT_CHARS_MAX].decode(errors="replace").strip()
    text = f"{url} answered HTTP {answer.status}" + (f": {shown}" if shown else "")
    match answer.status:
        case 400:
            return Refused(reason=said if said in _REASONS else "sync_refused", text=text)
        case 401:
            hint = "; the server and the app must have the same signing key"
            return Refused(reason="unauthorized", text=text + hint)
        case 403:
            return Refused(reason="forbidden", text=text)
        case 404:
            return Refused(reason="url_not_found", text=text + "; is its path right?")
        case status if status >= 500:
            return Refused(reason="internal_server_error", text=text)
        case _:
            return Refused(reason="sync_refused", text=text)


_REASONS = frozenset(
    {
        "invalid_function",
        "invalid_signing_key",
        "missing_branch_env_name",
        "missing_signing_key",
        "no_functions",
        "server_kind_mismatch",
    }
)
"""What SDKs say of themselves, and what an app's error is called then."""


def _object(body: bytes) -> dict[str, Json]:
    try:
        value = decode(body)
    except WireError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(fields: dict[str, Json], name: str) -> str:
    value = fields.get(name)
    return value[:_TEXT_CHARS_MAX] if isinstance(value, str) else ""
