"""Signing keys: their forms, their hash, and the bearer tokens made of them.

A key is an even number of hexadecimal digits, perhaps behind a readable prefix such as
`signkey-prod-`. The prefix says where the key belongs and is never part of the cryptography.
Source: docs/reference/wire/signing.md, "keys".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from stepwell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFIX = re.compile(r"signkey-\w+-", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")


def strip_prefix(key: str) -> str:
    """The key without its readable prefix."""
    found = _PREFIX.match(key)
    return key[found.end() :] if found else key


def validate_signing_key(key: str) -> None:
    """Refuse a text that cannot be a signing key. The message does not repeat it.

    Raises:
        ConfigError: `signing_key_invalid`.
    """
    if not _HEX.fullmatch(strip_prefix(key)):
        raise ConfigError(
            "a signing key is an even number of hexadecimal digits, with or without a prefix such "
            f"as signkey-prod-; this one has {len(key)} characters and is something else",
            code="signing_key_invalid",
        )


@lru_cache(maxsize=16)
def hash_signing_key(key: str) -> str:
    """SHA-256 of the bytes that the key's digits stand for, in hexadecimal.

    Raises:
        ConfigError: `signing_key_invalid`.
    """
    validate_signing_key(key)
    return hashlib.sha256(bytes.fromhex(strip_prefix(key))).hexdigest()


def bearer_token(key: str) -> str:
    """What an SDK sends instead of the key: its prefix as it is, and the hash.

    Raises:
        ConfigError: `signing_key_invalid`.
    """
    return key[: len(key) - len(strip_prefix(key))] + hash_signing_key(key)


def bearer_matches(authorization: str | None, keys: Sequence[str]) -> bool:
    """Whether an `Authorization` header carries one of the keys, plain or hashed.

    Every key is compared, in constant time, so the answer's time tells nothing of them.

    Raises:
        ConfigError: `signing_key_invalid`, if one of `keys` is not a key.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        return False
    given = strip_prefix(token.strip()).encode("utf-8", "surrogatepass")
    known = False
    for key in keys:
        known |= hmac.compare_digest(given, strip_prefix(key).encode())
        known |= hmac.compare_digest(given, hash_signing_key(key).encode())
    return known
