"""Events as producers send them, and as functions receive them.

`data` and `user` stay the bytes that came, so numbers keep every digit.
Source: docs/reference/wire/events.md.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Final

import msgspec

from stepwell.errors import LimitExceeded, WireError
from stepwell.wire.fields import FieldNames
from stepwell.wire.ids import ulid_bytes
from stepwell.wire.json import Json, decode, decode_with, encode
from stepwell.wire.quoting import shortened
from stepwell.wire.sessions import session_meta

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENTS_PER_REQUEST_MAX: Final = 5_000
RESERVED_PREFIX: Final = "inngest/"

TS_MS_MIN: Final = 315_532_800_000
"""1980-01-01, the first instant that an event may name."""

TS_MS_MAX: Final = 4_102_444_800_000
"""2100-01-01, the last one."""

NULL: Final = b"null"

_SPACE = b" \t\r\n"


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that was accepted and has no id of ours yet.

    Attributes:
        data: A JSON object, or `null` when there was none.
        ts_ms: When it happened; None for the time of its arrival.
        external_id: The producer's key for it.
        user: A JSON object.
        meta: A JSON object with the one key `sessions`.
    """

    name: str
    data: bytes
    ts_ms: int | None = None
    external_id: str | None = None
    user: bytes | None = None
    v: str | None = None
    meta: bytes | None = None


class EventSeed(msgspec.Struct, frozen=True, kw_only=True):
    """What a producer fixes the ids of its events with, so that sending again changes nothing."""

    ms: int
    entropy: bytes


class _Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str | None = None
    data: msgspec.Raw = msgspec.Raw(NULL)
    id: str | None = None
    ts: int | None = None
    user: msgspec.Raw = msgspec.Raw(NULL)
    v: str | None = None
    meta: msgspec.Raw = msgspec.Raw(NULL)


_FIELDS = FieldNames(_Event.__struct_fields__)
_EVENT = msgspec.json.Decoder(_Event)
_EVENTS = msgspec.json.Decoder(list[_Event])
_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_RAW_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Json])


def parse_events(body: bytes, *, event_bytes_max: int) -> list[NewEvent]:
    """Read the body of a request that sends one event or an array of them. All or nothing.

    Raises:
        WireError: `invalid_json`, `event_invalid` (wrong type of a field), `event_name_empty`,
            `event_name_reserved`, `event_ts_invalid`, `events_too_many`.
        LimitExceeded: `event_too_large`.
    """
    body = body.strip(_SPACE)
    match body[:1]:
        case b"{":
            _check_size(len(body), event_bytes_max)
            return [_accept(_read_one(body))]
        case b"[":
            return _read_many(body, event_bytes_max)
        case _:
            raise WireError(
                "the body must be an event object or an array of event objects",
                code="invalid_json",
            )


def parse_seed(text: str) -> EventSeed | None:
    """Read `<unix milliseconds>,<base64 of ten bytes>`; None if it is anything else."""
    found = _SEED.fullmatch(text.strip())
    if found is None or int(found[1]) >= 2**48:
        return None
    return EventSeed(ms=int(found[1]), entropy=b64decode(found[2]))


def seeded_event_id(seed: EventSeed, n: int) -> bytes:
    """The id of the n-th event of a request, counted from 1."""
    last = (int.from_bytes(seed.entropy[6:], "big") + n) % 2**32
    return ulid_bytes(seed.ms, seed.entropy[:6] + last.to_bytes(4, "big"))


def event_object(
    *,
    name: str,
    id: str,
    ts_ms: int,
    data: bytes,
    user: bytes | None,
    v: str | None,
    meta: bytes | None,
) -> bytes:
    """The whole event as functions receive it: keys sorted, stored JSON spliced in as it is."""
    parts = [b'{"data":', data, b',"id":', encode(id)]
    if meta:
        parts += (b',"meta":', meta)
    parts += (b',"name":', encode(name), b',"ts":%d,"user":' % ts_ms, user or b"{}")
    if v:
        parts += (b',"v":', encode(v))
    parts.append(b"}")
    return b"".join(parts)


_SEED = re.compile(r"([0-9]{1,15}),([A-Za-z0-9+/]{14}==)")  # 14 characters hold ten bytes


def _read_one(body: bytes) -> _Event:
    try:
        return decode_with(_EVENT, body)
    except WireError:
        return _read_any_case(body)


def _read_many(body: bytes, event_bytes_max: int) -> list[NewEvent]:
    given = _split(body, event_bytes_max)
    if not given:
        raise WireError("the array holds no event", code="event_invalid")
    if len(given) > EVENTS_PER_REQUEST_MAX:
        raise WireError(
            f"Cannot have more than {EVENTS_PER_REQUEST_MAX} events in a batch, this has "
            f"{len(given)}; send them in several requests",
            code="events_too_many",
        )
    accepted = []
    for number, item in enumerate(given, 1):
        try:
            if isinstance(item, _Event):
                accepted.append(_accept(item))
            else:
                _check_size(len(item), event_bytes_max)
                accepted.append(_accept(_read_one(item)))
        except WireError as error:
            place = f" (event {number} of {len(given)})" if len(given) > 1 else ""
            raise WireError(f"{error.message}{place}", code=error.code) from error
    return accepted


def _split(body: bytes, event_bytes_max: int) -> Sequence[_Event | bytes]:
    """The events of an array; as bytes if one of them needs a closer look."""
    if len(body) > event_bytes_max:  # then each has to be measured
        return _pieces(body)
    try:
        return decode_with(_EVENTS, body)
    except WireError:  # another spelling, or a mistake that has to be found
        return _pieces(body)


def _pieces(body: bytes) -> list[bytes]:
    return [bytes(raw) for raw in decode_with(_RAWS, body)]


def _read_any_case(raw: bytes) -> _Event:
    """Read an event with unknown or otherwise spelled keys, and name what is wrong with it."""
    try:
        fields = decode_with(_RAW_FIELDS, raw)
        proper = encode(_FIELDS.spell(fields))
        return decode_with(_EVENT, proper)
    except WireError as error:
        # The bytes were JSON if a decoder without a type takes them.
        decode(raw)
        raise WireError(error.message, code="event_invalid") from error


NAME_CHARS_MAX: Final = 512
"""Of an event's name. Wildcards are looked up at each of its delimiters."""


def _accept(event: _Event) -> NewEvent:
    name = event.name
    if not name:
        raise WireError("event name is empty", code="event_name_empty")
    if len(name) > NAME_CHARS_MAX:
        raise WireError(
            f"an event name may have {NAME_CHARS_MAX} characters, this has {len(name)}",
            code="event_invalid",
        )
    if name[: len(RESERVED_PREFIX)].lower() == RESERVED_PREFIX:
        raise WireError(
            f"event name is reserved for internal use: {shortened(name)}",
            code="event_name_reserved",
        )
    if event.ts and event.ts < TS_MS_MIN:
        raise WireError("timestamp is before Jan 1, 1980", code="event_ts_invalid")
    if event.ts and event.ts > TS_MS_MAX:
        raise WireError("timestamp is after Jan 1, 2100", code="event_ts_invalid")
    meta = bytes(event.meta)
    return NewEvent(
        name=name,
        data=_data(bytes(event.data)),
        ts_ms=event.ts or None,
        external_id=event.id or None,
        user=_object("user", bytes(event.user)),
        v=event.v or None,
        meta=None if meta == NULL else session_meta(decode(meta)),
    )


def _data(raw: bytes) -> bytes:
    """The event's data without what only the server may put into it."""
    value = _object("data", raw)
    if value is None:
        return NULL
    # An escape may spell the same key, so a backslash is reason enough to look.
    if b"_inngest" in value or b"\\" in value:
        fields = decode_with(_RAW_FIELDS, value)
        if fields.pop("_inngest", None) is not None:
            return encode(fields)
    return value


def _object(field: str, raw: bytes) -> bytes | None:
    """Check that a field holds an object that expressions can read, or nothing."""
    if raw == NULL:
        return None
    try:
        decode_with(_OBJECT, raw)
    except WireError as error:
        if raw[:1] == b"{":
            raise  # some number or text inside it
        raise WireError(f"{field} must be an object", code="event_invalid") from error
    return raw


def _check_size(seen: int, event_bytes_max: int) -> None:
    if seen > event_bytes_max:
        raise LimitExceeded(
            f"Event is over the max size: Max {event_bytes_max} bytes / Size {seen} bytes",
            code="event_too_large",
        )
