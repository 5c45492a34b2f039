"""The one seam between the values of user code and JSON.

Written: what msgspec writes (None, bool, int, float, str, lists, tuples, sets, dicts, dataclasses,
attrs classes, msgspec structs, TypedDicts, datetimes, UUIDs, decimals, enums; bytes as base64) and
pydantic models, at any depth. Read back: plain JSON values, or the type that the caller names.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from stepwell.error_text import message_of
from stepwell.errors import StepwellError, WireError
from stepwell.wire.json import DEPTH_MAX, check_depth

VALUE_DEPTH_MAX: Final = DEPTH_MAX - 8
"""How deep a value may be nested. A peer counts what is wrapped round it too: a reply, and later
the call or the event that brings it back."""


_MEND: Final = "; use plain values, a dataclass, a msgspec struct or a pydantic model"


def serialise(value: object, what: str = "") -> bytes:
    """Write a value as JSON.

    Args:
        what: What the error calls the value; its type by default.
    Raises:
        StepwellError: `output_unserializable`, if some part of it has no JSON form, or none that
            is shallow enough.
    """
    try:
        data = _ENCODER.encode(value)
        check_depth(data, VALUE_DEPTH_MAX)
        return data
    except KeyboardInterrupt:
        raise
    # Hooks of user types may raise anything; all of it means the same to the caller.
    except BaseException as error:
        said = error.message if isinstance(error, WireError) else message_of(error) + _MEND
        kind = type(value).__name__
        raise StepwellError(
            f"{f'{what} ({kind})' if what else kind} cannot be written as JSON: {said}",
            code="output_unserializable",
        ) from error


def restore(value: Any, output_type: Any, what: str = "the stored value") -> Any:
    """Turn plain JSON values into `output_type`.

    Args:
        what: What the error calls the value.
    Raises:
        StepwellError: `output_invalid`, if the stored value does not fit the type.
    """
    try:
        return msgspec.convert(value, output_type, strict=True, dec_hook=_read_foreign)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise StepwellError(
            f"{what} is not a {getattr(output_type, '__name__', output_type)}: {error}",
            code="output_invalid",
        ) from error


def _write_foreign(value: Any) -> Any:
    dump = getattr(type(value), "model_dump", None)  # pydantic, without importing it
    if dump is None:
        raise TypeError(f"objects of type {type(value).__qualname__} are not supported")
    return dump(value, mode="json", by_alias=True)  # which is how it is read back


def _read_foreign(target: type, value: Any) -> Any:
    validate = getattr(target, "model_validate", None)
    if validate is None:
        raise TypeError(f"values of type {target.__qualname__} cannot be restored from JSON")
    return validate(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_write_foreign)
