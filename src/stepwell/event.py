"""The event as programs write and read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, get_origin

import msgspec

from stepwell.codec import restore, serialise
from stepwell.errors import ConfigError, NonRetriableError, StepwellError

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    D = TypeVar("D", default=dict[str, Any])
else:
    from typing import TypeVar

    D = TypeVar("D")


class Event(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """Something that happened. Its data is a dict, unless its type is declared (`EventType`).

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
    data: D = msgspec.field(default_factory=dict)  # type: ignore[assignment]  # for plain events
    id: str = ""
    ts: int = 0
    user: dict[str, Any] = msgspec.field(default_factory=dict)
    v: str | None = None


class EventType(Generic[D]):
    """A kind of event with the type of its data, for triggers, waits and senders alike.

    `paid = EventType("order/paid", Order)`; the type may be a pydantic model, a msgspec struct, a
    dataclass or a TypedDict.
    """

    def __init__(self, name: str, data: type[D]) -> None:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"an event type needs the name of its events, this is {name!r}")
        if not isinstance(data, type) and get_origin(data) is None:
            raise ConfigError(
                f"event type {name!r} needs the type of its data, such as a dataclass, this is "
                f"{data!r}"
            )
        _check_readable(name, data)
        self.name = name
        self.data = data

    def create(self, data: D, *, id: str = "", ts: int = 0) -> Event[D]:
        """An event of this kind, ready to be sent."""
        return Event(name=self.name, data=data, id=id, ts=ts)

    def stands_for(self, name: str) -> bool:
        """Whether events of this name are of this kind: the same, or the beginning of a wildcard's.

        Source: docs/reference/wire/triggers.md, "events".
        """
        if self.name.endswith(("/*", ".*")):
            return name.startswith(self.name[:-1])
        return name == self.name

    def read(self, event: Event[Any]) -> Event[D]:
        """The same event, its data in this type.

        Raises:
            NonRetriableError: `event_data_invalid`, if the data does not fit.
        """
        try:
            data: D = restore(event.data, self.data, f"the data of event {event.name!r}")
        except StepwellError as error:
            unfit = NonRetriableError(error.message)
            unfit.code = "event_data_invalid"
            raise unfit from error
        return msgspec.structs.replace(event, data=data)

    def __repr__(self) -> str:
        return f"<EventType {self.name}>"


def _check_readable(name: str, data: Any) -> None:
    """Refuse a type whose values nobody can make from JSON."""
    try:
        is_foreign = isinstance(msgspec.inspect.type_info(data), msgspec.inspect.CustomType)
    except TypeError as error:
        raise ConfigError(
            f"event type {name!r} has data of a type that cannot be read from JSON: {error}"
        ) from error
    except (NameError, AttributeError, SyntaxError):  # it refers to what is not there yet
        return
    if is_foreign and not hasattr(data, "model_validate"):
        shown = getattr(data, "__name__", data)
        raise ConfigError(
            f"event type {name!r} has data of the class {shown}, which cannot be read from JSON: "
            "make it a dataclass, a msgspec struct, a pydantic model or a TypedDict"
        )


def event_name(event: str | EventType[Any]) -> str:
    """The name of an event that is given by name or by type."""
    return event.name if isinstance(event, EventType) else event


def read_awaited_event(value: Any, event: str | EventType[Any]) -> Event[Any] | None:
    """The event that ended a wait; None if none came in time.

    Raises:
        NonRetriableError: `event_data_invalid`, if its data does not fit the type.
        StepwellError: `output_invalid`, if it is no event.
    """
    if value is None:
        return None
    came: Event[Any] = restore(_without_nulls(value), _PLAIN)
    return event.read(came) if isinstance(event, EventType) else came


def event_list(given: Event[Any] | Sequence[Event[Any]]) -> list[Event[Any]]:
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


def write_events(events: list[Event[Any]]) -> bytes:
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
        return msgspec.convert(_without_nulls(msgspec.json.decode(raw)), _PLAIN)


def _without_nulls(fields: Any) -> Any:
    if not isinstance(fields, dict):
        return fields
    return {name: field for name, field in fields.items() if field is not None}


def _fields(event: Event[Any]) -> dict[str, Any]:
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


_PLAIN = Event[dict[str, Any]]
_DECODER = msgspec.json.Decoder(_PLAIN)
