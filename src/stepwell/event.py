"""The event as programs write and read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from stepwell.codec import serialise
from stepwell.errors import ConfigError


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened.

    Attributes:
        name: Which kind of thing; `inngest/` is reserved.
        data: What functions receive. Values may be anything that `stepwell.codec` can write.
        id: The producer's key: an event with an id that was seen in the last 24 hours starts no
            second run of the same function. Empty: the server gives one.
        ts: When it happened, in milliseconds since the epoch. 0: now.
        user: Kept for producers that still send it.
        v: A version text that is passed through.
    """

    name: str
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    id: str = ""
    ts: int = 0
    user: dict[str, Any] = msgspec.field(default_factory=dict)
    v: str | None = None


def event_list(given: Event | Sequence[Event]) -> list[Event]:
    """One event, or several, as a list.

    Raises:
        ConfigError: Something else was given.
    """
    if isinstance(given, Event):
        return [given]
    events = (
        list(given) if isinstance(given, Iterable) and not isinstance(given, dict | str) else None
    )
    for event in [given] if events is None else events:
        if not isinstance(event, Event):
            raise ConfigError(
                f"only an Event can be sent, or a list of them, not a {type(event).__name__}; "
                'write Event(name="order/paid", data={...})'
            )
    return events or []


def write_events(events: list[Event]) -> bytes:
    """Write events as the event API takes them: a JSON array, without what is not set.

    Raises:
        StepwellError: `output_unserializable`, if some value in `data` has no JSON form.
    """
    return serialise([_fields(event) for event in events])


def read_event(raw: bytes | msgspec.Raw) -> Event:
    """Read an event that a call brings. What is absent or null gets the field's default.

    Raises:
        msgspec.DecodeError: It is not an event.
    """
    try:
        return _DECODER.decode(raw)
    except msgspec.ValidationError:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
        return msgspec.convert({k: v for k, v in fields.items() if v is not None}, Event)


def _fields(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": event.name, "data": event.data}
    if event.id:
        fields["id"] = event.id
    if event.ts:
        fields["ts"] = event.ts
    if event.user:
        fields["user"] = event.user
    if event.v is not None:
        fields["v"] = event.v
    return fields


_DECODER = msgspec.json.Decoder(Event)
