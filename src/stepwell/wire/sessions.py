"""Sessions: which conversations, users or orders an event belongs to.

`meta.sessions` is what the producer says; `meta.propagated_sessions` is what an SDK adds when the
event is sent from inside a run. Both become one map that the event keeps.
Source: docs/reference/wire/events.md, "sessions".
"""

from __future__ import annotations

from stepwell.errors import WireError
from stepwell.wire.json import Json, encode

SESSIONS_PER_EVENT_MAX = 5
SESSION_KEY_BYTES_MAX = 128
SESSION_ID_BYTES_MAX = 512


def session_meta(meta: Json) -> bytes | None:
    """The `meta` that an event keeps: `{"sessions": {...}}`, or None when it has no session.

    `null` for one key drops that key, `"sessions": null` drops all; free places are filled from
    the propagated ones in the order of their keys.

    Raises:
        WireError: `event_invalid`.
    """
    if meta is None:
        return None
    if not isinstance(meta, dict):
        raise _invalid("meta must be an object")
    own = meta.get("sessions", {})
    if own is None:
        return None
    sessions = _read("meta.sessions", own)
    if sum(value is not None for value in sessions.values()) > SESSIONS_PER_EVENT_MAX:
        raise _invalid(f"an event may have {SESSIONS_PER_EVENT_MAX} sessions, not {len(sessions)}")
    kept = {key: value for key, value in sessions.items() if value is not None}
    propagated = _read("meta.propagated_sessions", meta.get("propagated_sessions") or {})
    for key in sorted(propagated):
        value = propagated[key]
        if len(kept) < SESSIONS_PER_EVENT_MAX and key not in sessions and value is not None:
            kept[key] = value
    return encode({"sessions": dict(sorted(kept.items()))}) if kept else None


def _read(name: str, given: Json) -> dict[str, str | None]:
    if not isinstance(given, dict):
        raise _invalid(f"{name} must be an object")
    found: dict[str, str | None] = {}
    for key, value in given.items():
        if not 1 <= len(key.encode()) <= SESSION_KEY_BYTES_MAX:
            raise _invalid(f"a key of {name} has 1 to {SESSION_KEY_BYTES_MAX} bytes")
        if value is None:
            found[key] = None
            continue
        # A bool is an int to Python, and not a session id.
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise _invalid(f"{name}: an id must be a text or a number")
        text = value if isinstance(value, str) else encode(value).decode()
        if not 1 <= len(text.encode()) <= SESSION_ID_BYTES_MAX:
            raise _invalid(f"an id in {name} has 1 to {SESSION_ID_BYTES_MAX} bytes")
        found[key] = text
    return found


def _invalid(text: str) -> WireError:
    return WireError(text, code="event_invalid")
