"""What steps that the server performs ask for, and what comes back: `ctx.step` writes and reads it.

Source: docs/reference/wire/waits.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from stepwell.codec import restore, serialise
from stepwell.errors import ConfigError
from stepwell.wire import ops as op_names
from stepwell.wire.durations import format_duration, format_iso_ms

_NO_OPTIONS: Final = msgspec.Raw(b"null")
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Asked(msgspec.Struct, frozen=True):
    """An operation to report: its name, its options, and what stands in `name`."""

    op: str
    opts: msgspec.Raw = msgspec.Raw(b"{}")
    legacy_name: str = ""


class Signal(msgspec.Struct, frozen=True):
    """What `wait_for_signal` was waiting for."""

    signal: str
    data: Any = None


class FetchResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What an address answered to `step.fetch`.

    Attributes:
        url: Where the answer came from, after redirects.
        headers: By name, in small letters.
        body: As text.
    """

    status_code: int
    url: str = ""
    headers: dict[str, str] = {}
    body: str = ""

    @property
    def ok(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status_code < 300

    def json(self) -> Any:
        """The body's value.

        Raises:
            ValueError: It is not JSON.
        """
        return msgspec.json.decode(self.body)


def sleep_for(duration: int | timedelta) -> Asked:
    """`step.sleep`."""
    return Asked(op_names.SLEEP, _NO_OPTIONS, _duration_text("a sleep", duration))


def sleep_until(until: datetime) -> Asked:
    """`step.sleep_until`."""
    if not isinstance(until, datetime):
        raise ConfigError(f"sleep_until takes an aware datetime, this is {until!r}")
    if until.tzinfo is None:
        raise ConfigError("sleep_until needs an aware datetime; pass tzinfo")
    text = format_iso_ms((until - _EPOCH) // timedelta(milliseconds=1))
    return Asked(op_names.SLEEP, _NO_OPTIONS, text)


def event_wait(event: str, if_exp: str | None, timeout: int | timedelta) -> Asked:
    """`step.wait_for_event`."""
    if not isinstance(event, str) or not event:
        raise ConfigError(f"wait_for_event needs the name of an event, this is {event!r}")
    options = {"event": event, "timeout": _duration_text("a timeout", timeout)}
    if if_exp is not None:
        if not isinstance(if_exp, str):
            raise ConfigError(f"if_exp is a condition as a text, this is {if_exp!r}")
        options["if"] = if_exp
    return Asked(op_names.WAIT_FOR_EVENT, _raw(options), event)


def signal_wait(signal: str, timeout: int | timedelta | None, conflict: str) -> Asked:
    """`step.wait_for_signal`."""
    if not isinstance(signal, str) or not signal:
        raise ConfigError(f"wait_for_signal needs the name of a signal, this is {signal!r}")
    if conflict not in ("fail", "replace"):
        raise ConfigError(f"on_conflict is {conflict!r}; it must be 'fail' or 'replace'")
    options = {"signal": signal, "conflict": conflict}
    if timeout is not None:
        options["timeout"] = _duration_text("a timeout", timeout)
    return Asked(op_names.WAIT_FOR_SIGNAL, _raw(options), signal)


def function_slug(function: object) -> str:
    """The name on the server of a function that is given as an object.

    Raises:
        ConfigError: It is none.
    """
    slug = getattr(function, "id", None)
    if not isinstance(slug, str):
        raise ConfigError(
            "a declared function is needed here, as @client.function makes one, not "
            f"{function!r}; one of another program is invoked by its id, with invoke_by_id"
        )
    return slug


def slug_of(app_id: str, function_id: str) -> str:
    """The name on the server of a function that is given by its ids.

    Raises:
        ConfigError: They are no ids.
    """
    if not isinstance(function_id, str) or not function_id:
        raise ConfigError(f"invoke_by_id needs the id of a function, this is {function_id!r}")
    if not isinstance(app_id, str) or not app_id:
        raise ConfigError(f"invoke_by_id needs the id of an app, this is {app_id!r}")
    return f"{app_id}-{function_id}"


def invocation(
    function_id: str,
    *,
    data: object,
    user: Mapping[str, Any] | None,
    v: str | None,
    timeout: int | timedelta | None,
) -> Asked:
    """`step.invoke`. `data` is an object: a mapping, or what is written as one."""
    payload: dict[str, Any] = {"data": _object("the data of an invoked function", data)}
    if user is not None:
        payload["user"] = _object("the user of an invoked function", user)
    if v is not None:
        if not isinstance(v, str):
            raise ConfigError(f"v is a version as a text, this is {v!r}")
        payload["v"] = v
    options: dict[str, Any] = {"function_id": function_id, "payload": payload}
    if timeout is not None:
        options["timeout"] = _duration_text("a timeout", timeout)
    return Asked(op_names.INVOKE_FUNCTION, _raw(options))


def fetch(
    url: str, *, method: str, headers: Mapping[str, str] | None, body: str | bytes | None
) -> Asked:
    """`step.fetch`."""
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise ConfigError(f"fetch needs a URL that begins with http:// or https://, not {url!r}")
    if not isinstance(method, str) or not method:
        raise ConfigError(f"the method of a fetch is a text such as 'POST', this is {method!r}")
    options: dict[str, Any] = {"url": url, "method": method.upper()}
    if headers:
        options["headers"] = _headers(headers)
    if body is not None:
        options["body"] = _body(body)
    return Asked(op_names.GATEWAY, _raw(options))


def deferral(fn_slug: str, data: object) -> msgspec.Raw:
    """The options of `step.defer`."""
    return _raw({"fn_slug": fn_slug, "input": _object("the data of a deferred function", data)})


def withdrawal(hashed: str) -> msgspec.Raw:
    """The options of a deferred function's `abort`."""
    return _raw({"target_hashed_id": hashed})


def read_signal(value: Any) -> Signal | None:
    """The signal; None if none came in time.

    Raises:
        StepwellError: `output_invalid`, if it is something else.
    """
    signal: Signal | None = None if value is None else restore(value, Signal)
    return signal


def read_response(value: Any) -> FetchResponse:
    """The answer to a `fetch`.

    Raises:
        StepwellError: `output_invalid`, if it is something else.
    """
    response: FetchResponse = restore(value, FetchResponse)
    return response


def _object(what: str, given: object) -> msgspec.Raw:
    written = b"{}" if given is None else serialise(given)
    if not written.startswith(b"{"):
        raise ConfigError(
            f"{what} is an object, such as {{'order_id': 7}}, this is a {type(given).__name__}"
        )
    return msgspec.Raw(written)


def _headers(given: object) -> dict[str, str]:
    if isinstance(given, Mapping) and all(
        isinstance(part, str) for header in given.items() for part in header
    ):
        return dict(given)
    raise ConfigError(f"the headers of a fetch are texts by name, this is {given!r}")


def _body(given: object) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, bytes):
        try:
            return given.decode()
        except UnicodeDecodeError as error:
            raise ConfigError("the body of a fetch is text in UTF-8, this is not") from error
    raise ConfigError(
        f"the body of a fetch is a text, this is a {type(given).__name__}; write JSON with "
        "json.dumps"
    )


def _raw(options: Mapping[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(options))


def _duration_text(what: str, duration: int | timedelta) -> str:
    if isinstance(duration, timedelta):
        ms = duration // timedelta(milliseconds=1)
    elif isinstance(duration, int) and not isinstance(duration, bool):
        ms = duration
    else:
        raise ConfigError(
            f"{what} takes whole milliseconds or a timedelta, this is {duration!r}; write "
            "timedelta(hours=1), for example"
        )
    if ms < 0:
        raise ConfigError(f"{what} of {ms} ms is not possible; it must be 0 or more")
    return format_duration(ms) if ms % 1000 == 0 else f"{ms}ms"
