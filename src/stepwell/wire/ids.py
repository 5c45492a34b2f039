"""Identifiers: ULIDs as 16 bytes inside and 26 characters on the wire, and derived UUIDs.

Inside the server every run, event, request and lease id is the 16 bytes of its ULID; text appears
only at the edges. Source: docs/reference/wire/ids.md.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import NewType, Protocol

from stepwell.errors import WireError

RunId = NewType("RunId", bytes)
EventId = NewType("EventId", bytes)
RequestId = NewType("RequestId", bytes)
LeaseId = NewType("LeaseId", bytes)

ACCOUNT_ID = "00000000-0000-4000-a000-000000000000"
ENVIRONMENT_ID = "00000000-0000-4000-b000-000000000000"

UNTARGETED_STEP = "step"
"""The step id of a call that names no step."""

RUN_COMPLETE_STEP = hashlib.sha1(b"complete").hexdigest()
"""The id that SDKs give to the `RunComplete` op."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_AS_BASE_32 = bytes(
    b"0123456789abcdefghijklmnopqrstuv"[_ALPHABET.index(char)]
    if code < 128 and (char := chr(code).upper()) in _ALPHABET
    else ord("!")  # no digit for `int`, unlike a sign or an underscore
    for code in range(256)
)
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_MS_MAX = 2**48 - 1
_30_BITS, _40_BITS = 2**30 - 1, 2**40 - 1


class IdSource(Protocol):
    """Where new ids come from: the system's randomness in the server, a seed in simulation."""

    def ulid(self, ms: int) -> bytes:
        """Return 16 fresh bytes whose first six are `ms`."""
        ...


def ulid_bytes(ms: int, entropy: bytes) -> bytes:
    """Join a time in milliseconds and ten bytes of entropy into the 16 bytes of a ULID."""
    assert 0 <= ms <= _MS_MAX, "a ULID holds 48 bits of milliseconds"
    assert len(entropy) == 10, "a ULID holds ten bytes of entropy"
    return ms.to_bytes(6, "big") + entropy


def ulid_text(raw: bytes) -> str:
    """Write 16 bytes as the 26 characters of a ULID."""
    number = int.from_bytes(raw, "big")
    # In four parts, since a shift of a large number takes longer.
    a, b, c, d = number >> 100, number >> 60 & _40_BITS, number >> 30 & _30_BITS, number & _30_BITS
    pairs = _PAIRS
    return (
        f"{pairs[a >> 20]}{pairs[a >> 10 & 1023]}{pairs[a & 1023]}"
        f"{pairs[b >> 30]}{pairs[b >> 20 & 1023]}{pairs[b >> 10 & 1023]}{pairs[b & 1023]}"
        f"{pairs[c >> 20]}{pairs[c >> 10 & 1023]}{pairs[c & 1023]}"
        f"{pairs[d >> 20]}{pairs[d >> 10 & 1023]}{pairs[d & 1023]}"
    )


def parse_ulid(text: str) -> bytes:
    """Read the 26 characters of a ULID, in either letter case.

    Raises:
        WireError: `invalid_ulid`, if it is not one.
    """
    if len(text) == 26 and text.isascii():
        try:
            return int(text.encode().translate(_AS_BASE_32), 32).to_bytes(16, "big")
        except (ValueError, OverflowError):
            raise _no_ulid(text) from None
    raise _no_ulid(text)


def _no_ulid(text: str) -> WireError:
    if len(text) != 26:
        return WireError(f"a ULID has 26 characters, this has {len(text)}", code="invalid_ulid")
    for char in text:
        if not char.isascii() or char.upper() not in _ALPHABET:
            return WireError(f"{char!r} cannot stand in a ULID", code="invalid_ulid")
    return WireError("a ULID begins with 0 to 7", code="invalid_ulid")


def ulid_ms(raw: bytes) -> int:
    """The time that a ULID carries, in milliseconds since the epoch."""
    return int.from_bytes(raw[:6], "big")


def app_uuid(app_name: str) -> str:
    """The id of an app: stable for its name."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, app_name))


def function_uuid(app_name: str, slug: str) -> str:
    """The id of a function: stable for its app and slug."""
    return str(uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_OID, app_name), slug))


def hash_step_id(step_id: str, index: int = 0) -> str:
    """The wire id of a step: SHA-1 of its id, with `:index` appended from the second use on."""
    text = step_id if index == 0 else f"{step_id}:{index}"
    return hashlib.sha1(text.encode()).hexdigest()
