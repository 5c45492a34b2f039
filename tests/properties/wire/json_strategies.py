"""JSON for property tests: well-formed values, and bytes as a hostile peer may send them."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import strategies as st

from stepwell.errors import LimitExceeded, WireError
from stepwell.wire.json import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT


def json_values(leaves: st.SearchStrategy[Any] = SCALARS) -> st.SearchStrategy[Any]:
    """Any JSON value that decodes to itself."""
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=12,
    )


JSON_OBJECTS = st.dictionaries(TEXT, json_values(), max_size=4)


def hostile_bodies(*right: Any) -> st.SearchStrategy[bytes]:
    """Bytes from noise to nearly right.

    Args:
        right: Values that are right; what comes is one of them with a few mistakes, or worse.
    """
    nearly = st.builds(_mistaken, st.sampled_from(right), st.integers(0, 2**32))
    encoded = (nearly | json_values()).map(encode)
    return (
        encoded
        | st.builds(_damaged, encoded, st.integers(0, 2**32))
        | st.binary(max_size=64)
        | st.sampled_from([b"[" * 300 + b"]" * 300, b'{"a":' * 2_000, b'"\\ud800"', b'{"n":1e400}'])
    )


def value_unless_refused(parse: Callable[[], T], *codes: str) -> T | None:
    """What the parser gives; None for a refusal, which must have one of the codes.

    Any other exception, and a message that repeats too much of the input, is a failure.
    """
    try:
        return parse()
    except (WireError, LimitExceeded) as error:
        refusal = error
    assert refusal.code in codes
    assert refusal.status in (400, 413)
    assert len(refusal.message) < 1_000
    return None


_WRONG: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**30, "", "x", "x" * 2_000, "é\n", [], {}, [None], {"a": 1}, [[{}]],
)  # fmt: skip


def _mistaken(right: Any, seed: int) -> Any:
    """None to three parts of it replaced, left out, or named in another letter case."""
    source = random.Random(seed)
    value = decode(encode(right))
    for _ in range(source.randint(0, 3)):
        holder, key = source.choice(list(_places(value)) or [([value], 0)])
        match source.randrange(3):
            case 0 if isinstance(holder, dict):
                holder[source.choice([key.upper(), key.lower(), key + "x"])] = holder.pop(key)
            case 1:
                del holder[key]
            case _:
                holder[key] = deepcopy(source.choice(_WRONG))  # a later mistake may change it
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every part of a value, as the container that holds it and its key there."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _damaged(raw: bytes, seed: int) -> bytes:
    """A few bytes of it changed, dropped or doubled."""
    source = random.Random(seed)
    out = bytearray(raw)
    for _ in range(source.randint(1, 3)):
        place = source.randrange(len(out) + 1)
        match source.randrange(3):
            case 0:
                out[place:place] = source.choice([b"\\ud83d", b"\xff", b"1e999", b'"', b"[", b"}"])
            case 1:
                del out[place : place + source.randint(1, 4)]
            case _:
                out[place:place] = out[place : place + 8]
    return bytes(out)
