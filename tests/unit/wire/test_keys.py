"""Signing keys and bearer tokens."""

from __future__ import annotations

import pytest

from stepwell.errors import ConfigError
from stepwell.wire import keys

KEY = "signkey-prod-0123456789abcdef0123456789abcdef"
HASH = "223e0a160af9da0a03e6dd2c4719c56f5d66a633cbe84e78aaa9f3735865522a"
OTHER = "signkey-test-abcd1234abcd1234"
OTHER_HASH = "87eb8e26549616326aac92f546017fc417e7c51d030c482214c395f09d0cebe9"


@pytest.mark.parametrize(("key", "digest"), [(KEY, HASH), (OTHER, OTHER_HASH), (KEY[13:], HASH)])
def test_hash_is_over_the_decoded_digits(key: str, digest: str) -> None:
    assert keys.hash_signing_key(key) == digest


@pytest.mark.parametrize(
    ("key", "bare"),
    [
        (KEY, "0123456789abcdef0123456789abcdef"),
        ("abcd", "abcd"),
        ("signkey-branch_1-abcd", "abcd"),
        ("signkey--abcd", "signkey--abcd"),
        ("signkey-é-abcd", "signkey-é-abcd"),
        ("", ""),
    ],
)
def test_prefix_is_stripped(key: str, bare: str) -> None:
    assert keys.strip_prefix(key) == bare


@pytest.mark.parametrize(
    "key",
    [
        "",
        "signkey-prod-",
        "abc",
        "signkey-prod-abc",
        "xyz1",
        "ab cd",
        "abcd\n",
        "٠١",
        "signkey-é-ab",
    ],
)
def test_what_cannot_sign_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        keys.validate_signing_key(key)

    assert caught.value.code == "signing_key_invalid"
    assert not key.strip() or key.strip() not in caught.value.message.replace("signkey-prod-", "")


@pytest.mark.parametrize("key", [KEY, "abcd", "ABCDEF01"])
def test_hexadecimal_keys_are_taken(key: str) -> None:
    keys.validate_signing_key(key)

    assert len(keys.hash_signing_key(key)) == 64


def test_bearer_token_keeps_the_readable_prefix() -> None:
    assert keys.bearer_token(KEY) == f"signkey-prod-{HASH}"
    assert keys.bearer_token(KEY[13:]) == HASH


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer signkey-prod-{HASH}",
        f"Bearer {HASH}",
        f"bearer {HASH}",
        f"BEARER  {HASH} ",
        f"Bearer {KEY}",
        f"Bearer {KEY[13:]}",
        f"Bearer signkey-other-{HASH}",
        f"Bearer {OTHER_HASH}",
        f"Bearer {OTHER}",
    ],
)
def test_every_form_of_every_key_is_accepted(header: str) -> None:
    assert keys.bearer_matches(header, [KEY, OTHER])


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        HASH,
        f"Basic {HASH}",
        f"Bearer {HASH.upper()}",
        f"Bearer {HASH[:-1]}",
        f"Bearer {OTHER_HASH}",
        "Bearer signkey-prod-",
        "Bearer é\ud800",
        f"Bearer signkey-prod-signkey-prod-{HASH}",
    ],
)
def test_anything_else_is_not(header: str | None) -> None:
    assert not keys.bearer_matches(header, [KEY])


def test_without_keys_nothing_matches() -> None:
    assert not keys.bearer_matches(f"Bearer {HASH}", [])
