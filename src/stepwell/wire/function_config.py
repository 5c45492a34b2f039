"""One function as an app describes it, and the condition that may stand on its trigger.

An option that this version cannot honour is refused by name, never accepted and ignored.
Source: docs/reference/wire/registration.md, "functions".
"""

from __future__ import annotations

import re
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlsplit

import msgspec

from stepwell.errors import WireError
from stepwell.wire.durations import parse_duration_ms, sleep_until_ms
from stepwell.wire.fields import FieldNames, without_nulls
from stepwell.wire.json import Json, decode, encode
from stepwell.wire.quoting import quoted

RETRIES_DEFAULT: Final = 4
RETRIES_MAX: Final = 20
TRIGGERS_MAX: Final = 10
EVENT_NAME_CHARS_MAX: Final = 255

NAME_CHARS_MAX: Final = 512
"""Of an app's name and version, a function's id and name. The protocol states no limit."""

UNSUPPORTED_OPTIONS: Final = (
    "concurrency",
    "rateLimit",
    "throttle",
    "debounce",
    "batchEvents",
    "priority",
    "idempotency",
    "singleton",
)

CANCELS_MAX: Final = 5
CRON_CHARS_MAX: Final = 255
JITTER_MS_MAX: Final = 5 * 60_000


class Equality(msgspec.Struct, frozen=True, kw_only=True):
    """`event.data.a.b == 'text'`: the path below `event.data`, and the text."""

    path: tuple[str, ...]
    value: str


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """What starts a function: an event, perhaps under a condition, or a schedule."""

    event: str | None = None
    expression: str | None = None
    cron: str | None = None
    jitter_ms: int = 0


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """An event that cancels runs of the function.

    Attributes:
        expression: Over `event`, which started the run, and `async`, which came later.
        timeout: A duration or an instant, after which the event does not count; None for never.
    """

    event: str
    expression: str | None = None
    timeout: str | None = None


class FunctionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One function.

    Attributes:
        slug: Its name in the protocol, `<app>-<function>`.
        retries: How often a failed call is repeated.
        url: Where its calls go.
        raw: The configuration as it is stored and shown: every field that came, the known ones
            under their proper names.
        on_connect: Calls go over the worker's own connection.
        cancels: Events that cancel its runs.
        start_timeout_ms: How long a run may wait for its first call.
        finish_timeout_ms: How long it may take from then on.
    """

    slug: str
    name: str
    triggers: tuple[Trigger, ...]
    retries: int
    url: str
    raw: msgspec.Raw
    on_connect: bool
    cancels: tuple[Cancel, ...] = ()
    start_timeout_ms: int | None = None
    finish_timeout_ms: int | None = None


def parse_function(raw: bytes) -> FunctionConfig:
    """Read one function's configuration, such as the `raw` of one that was stored.

    Raises:
        WireError: `function_invalid`, `function_unsupported`.
    """
    try:
        given = decode(raw)
    except WireError as error:
        raise function_invalid("", error.message) from error
    return read_function(given, "")


def read_function(given: Json, place: str) -> FunctionConfig:
    """As `parse_function`, for JSON that is decoded already.

    Args:
        place: Names the function in errors as long as its id is not known, such as ` 3`.
    """
    if not isinstance(given, dict):
        raise function_invalid(place, "it must be an object")
    fields = without_nulls(_FUNCTION_FIELDS.respell(given))
    name = _member(fields, "name", str, "", place)
    slug = _member(fields, "id", str, "", place) or _slug(name)
    where = f" {quoted(slug)}" if slug else place
    if not name:
        raise function_invalid(where, "A function name is required")
    if not slug:
        raise function_invalid(where, "it has no id, and its name has no letter to make one of")
    if max(len(slug), len(name)) > NAME_CHARS_MAX:
        raise function_invalid(where, f"id and name may have {NAME_CHARS_MAX} characters each")
    for option in UNSUPPORTED_OPTIONS:
        if not _is_empty(fields.get(option)):
            raise _unsupported(where, f"the option {option}")
    step = _step(fields, where)
    url = _member(step, "url", str, "", where)
    timeouts = _TIMEOUT_FIELDS.spell(_member(fields, "timeouts", dict, {}, where))
    return FunctionConfig(
        slug=slug,
        name=name,
        triggers=_triggers(fields, where),
        retries=_retries(step.get("retries", fields.get("retries")), where),
        url=url,
        raw=msgspec.Raw(encode({**fields, "id": slug, "name": name})),
        on_connect=_scheme(url, slug, where) in ("ws", "wss"),
        cancels=_cancels(fields, where),
        start_timeout_ms=_duration_ms(timeouts, "start", "its start timeout", where),
        finish_timeout_ms=_duration_ms(timeouts, "finish", "its finish timeout", where),
    )


def parse_equality(text: str) -> Equality | None:
    """Read the simplest and most frequent form of condition; None if the text has another form."""
    found = _EQUALITY.fullmatch(text)
    if found is None:
        return None
    return Equality(
        path=tuple(found["path"].split(".")[1:]),
        value=_ESCAPE.sub(lambda escape: _ESCAPES[escape[1]], found["text"][1:-1]),
    )


def function_invalid(where: str, reason: str) -> WireError:
    """The refusal of a whole sync because of one function."""
    return WireError(
        f"At least one function is invalid: function{where}: {reason}", code="function_invalid"
    )


_T = TypeVar("_T")

_FUNCTION_FIELDS = FieldNames(
    (
        "id",
        "name",
        "triggers",
        "steps",
        "retries",
        "checkpoint",
        "cancel",
        "timeouts",
        *UNSUPPORTED_OPTIONS,
    )
)
_TRIGGER_FIELDS = FieldNames(("event", "expression", "cron", "jitter"))
_CANCEL_FIELDS = FieldNames(("event", "if", "timeout"))
_TIMEOUT_FIELDS = FieldNames(("start", "finish"))
_STEP_FIELDS = FieldNames(("name", "runtime", "retries"))
_RUNTIME_FIELDS = FieldNames(("url",))
_RETRY_FIELDS = FieldNames(("attempts",))
_KIND_NAMES: dict[type, str] = {str: "a text", list: "an array", dict: "an object"}

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_TEXT = r"""'(?:[^'\\\n]|\\[\\'"nrt])*'|"(?:[^"\\\n]|\\[\\'"nrt])*\""""
_EQUALITY = re.compile(
    rf"\s*event\.data(?P<path>(?:\.[A-Za-z_][A-Za-z0-9_]*)+)\s*==\s*(?P<text>{_TEXT})\s*"
)
_WILDCARD = re.compile(r"[^*]+[/.]\*")
_NOT_IN_SLUG = re.compile(r"[^a-z0-9]+")


def _step(fields: dict[str, Json], where: str) -> dict[str, Json]:
    """The one step, with its runtime's url as its own."""
    steps = _member(fields, "steps", dict, {}, where)
    if len(steps) != 1:
        raise function_invalid(where, f"it must have exactly one step, not {len(steps)}")
    (given,) = steps.values()
    if not isinstance(given, dict):
        raise function_invalid(where, "its step must be an object")
    step = without_nulls(_STEP_FIELDS.spell(given))
    if not _member(step, "name", str, "", where):
        raise function_invalid(where, "its step has no name")
    runtime = _RUNTIME_FIELDS.spell(_member(step, "runtime", dict, {}, where))
    return {**step, "url": runtime.get("url")}


def _scheme(url: str, slug: str, where: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise function_invalid(where, f"its url {quoted(url)} cannot be read: {error}") from error
    if parts.scheme not in ("http", "https", "ws", "wss"):
        raise function_invalid(
            where, f"its url {quoted(url)} must begin with http, https, ws or wss"
        )
    # Workers find a function by the name in its url, so the two must be one.
    named = parse_qs(parts.query).get("fnId", [slug])
    if parts.scheme in ("ws", "wss") and named != [slug]:
        raise function_invalid(where, f"the fnId in its url is {quoted(', '.join(named))}")
    return parts.scheme


def _retries(given: Json, where: str) -> int:
    if isinstance(given, dict):
        given = _RETRY_FIELDS.spell(given).get("attempts")
    if given is None:
        return RETRIES_DEFAULT
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise function_invalid(where, "its retries must be a whole number of at least 0")
    return min(given, RETRIES_MAX)


def _triggers(fields: dict[str, Json], where: str) -> tuple[Trigger, ...]:
    given = _member(fields, "triggers", list, [], where)
    if len(given) > TRIGGERS_MAX:
        raise function_invalid(where, f"it may have {TRIGGERS_MAX} triggers, not {len(given)}")
    triggers: list[Trigger] = []
    for entry in given:
        trigger = _trigger(entry, where)
        if trigger in triggers or (
            trigger.cron is not None and any(trigger.cron == other.cron for other in triggers)
        ):
            raise function_invalid(
                where, f"its trigger {quoted(trigger.event or trigger.cron or '')} is there twice"
            )
        triggers.append(trigger)
    return tuple(triggers)


def _trigger(given: Json, where: str) -> Trigger:
    if not isinstance(given, dict):
        raise function_invalid(where, "a trigger must be an object")
    fields = without_nulls(_TRIGGER_FIELDS.spell(given))
    event = _member(fields, "event", str, "", where)
    cron = _member(fields, "cron", str, "", where)
    expression = _member(fields, "expression", str, "", where).strip() or None
    if bool(event) == bool(cron):
        raise function_invalid(where, "a trigger must have either an event or a cron schedule")
    if cron:
        if len(cron) > CRON_CHARS_MAX:
            raise function_invalid(where, f"a schedule may have {CRON_CHARS_MAX} characters")
        if expression is not None:
            raise function_invalid(where, "a schedule cannot have an expression")
        jitter_ms = _duration_ms(fields, "jitter", "its jitter", where) or 0
        if jitter_ms and not 1_000 <= jitter_ms <= JITTER_MS_MAX:
            raise function_invalid(where, "its jitter must be 0, or from 1s to 5m")
        return Trigger(cron=cron, jitter_ms=jitter_ms)
    if len(event) > EVENT_NAME_CHARS_MAX:
        raise function_invalid(where, f"an event name may have {EVENT_NAME_CHARS_MAX} characters")
    if "*" in event and not _WILDCARD.fullmatch(event):
        raise function_invalid(
            where, f"the event name {event!r} may have a * only at its end, after / or ."
        )
    return Trigger(event=event, expression=expression)


def _cancels(fields: dict[str, Json], where: str) -> tuple[Cancel, ...]:
    given = _member(fields, "cancel", list, [], where)
    if len(given) > CANCELS_MAX:
        raise function_invalid(where, f"it may have {CANCELS_MAX} cancels, not {len(given)}")
    return tuple([_cancel(entry, where) for entry in given])


def _cancel(given: Json, where: str) -> Cancel:
    if not isinstance(given, dict):
        raise function_invalid(where, "a cancel must be an object")
    fields = without_nulls(_CANCEL_FIELDS.spell(given))
    event = _member(fields, "event", str, "", where)
    if not 1 <= len(event) <= EVENT_NAME_CHARS_MAX:
        raise function_invalid(
            where, f"the event of a cancel must have 1 to {EVENT_NAME_CHARS_MAX} characters"
        )
    timeout = _member(fields, "timeout", str, "", where).strip() or None
    if timeout is not None:
        try:
            sleep_until_ms(timeout, 0)
        except WireError as error:
            raise function_invalid(where, f"the timeout of a cancel: {error.message}") from error
    expression = _member(fields, "if", str, "", where).strip() or None
    return Cancel(event=event, expression=expression, timeout=timeout)


def _duration_ms(fields: dict[str, Json], name: str, what: str, where: str) -> int | None:
    text = _member(fields, name, str, "", where).strip()
    if not text:
        return None
    try:
        ms = parse_duration_ms(text)
    except WireError as error:
        raise function_invalid(where, f"{what}: {error.message}") from error
    if ms < 0:
        raise function_invalid(where, f"{what} cannot be negative")
    return ms


def _slug(name: str) -> str:
    return _NOT_IN_SLUG.sub("-", name.lower()).strip("-")


def _is_empty(option: Json) -> bool:
    """Whether an option that is there says nothing."""
    if isinstance(option, dict):
        return all(_is_empty(value) for value in option.values())
    return option in (None, "", 0, [])


def _member(fields: dict[str, Json], name: str, kind: type[_T], default: _T, where: str) -> _T:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise function_invalid(where, f"{name} must be {_KIND_NAMES[kind]}")
    return value


def _unsupported(where: str, what: str) -> WireError:
    return WireError(
        f"At least one function is invalid: function{where}: {what} is not supported by this "
        "version",
        code="function_unsupported",
    )
