"""Signatures: the vectors of the protocol, and what is refused."""

from __future__ import annotations

import pytest

from stepwell.errors import AuthError
from stepwell.wire.json import canonical
from stepwell.wire.signing import sign, verify, verify_json

KEY = "signkey-prod-0123456789abcdef0123456789abcdef"
OTHER = "signkey-prod-ffffffffffffffffffffffffffffffff"
NOW_S = 1_760_000_000
BODY = b'{"a":1,"b":[true,null]}'
MAC = "4155ace9f5d9e8ae86cca37838406551e29fc06c0c3a66bda44d30d092ee1e65"
EMPTY_MAC = "ec7c7881236f3d0a5fb4af93ea548aecedfd1aac15f1a0fed8d489c332cbb47c"

REQUEST = (
    b'{"ctx":{"attempt":0,"disable_immediate_execution":false,"env":"",'
    b'"fn_id":"5f1d0c0e-7a51-5b0e-8b52-0a4b6c0d9d11","generation_id":1,"job_id":"3k1vd0q2m7",'
    b'"max_attempts":3,"qi_id":"M2sxdmQwcTJtNzo6ZGVmYXVsdA==",'
    b'"request_id":"01K7T0C0000000000000000001","run_id":"01K7T0BZZZ0000000000000000",'
    b'"stack":{"current":0,"stack":[]},"step_id":"step","use_api":false},"defers":{},'
    b'"event":{"data":{"total":12},"id":"01K7T0BX000000000000000000","name":"order/paid",'
    b'"ts":1760000000000,"user":{}},"events":[{"data":{"total":12},'
    b'"id":"01K7T0BX000000000000000000","name":"order/paid","ts":1760000000000,"user":{}}],'
    b'"steps":{},"use_api":false,"version":-1}'
)
REQUEST_MAC = "f1db93b8c06a558ad234478af87c3114b0c0268da751297c0fceab6fd26c9312"
RESPONSE = (
    b'[{"displayName": "charge-card", "id": "b2ae8f272ea660900fca3aeefbd39695c43f5cc9", '
    b'"name": "charge-card", "op": "StepRun", "opts": null, '
    b'"userland": {"id": "charge-card", "index": null}, "data": {"charge": "ch_9"}}]'
)
RESPONSE_MAC = "b43f5ca421582d51f9c99da6bbc6b546f7377ffa2a8429591e84cbbae2678a77"


@pytest.mark.parametrize(
    ("body", "unix_s", "mac"),
    [
        (BODY, NOW_S, MAC),
        (b"", NOW_S, EMPTY_MAC),
        (REQUEST, NOW_S, REQUEST_MAC),
        (RESPONSE, NOW_S + 1, RESPONSE_MAC),
    ],
)
def test_vectors(body: bytes, unix_s: int, mac: str) -> None:
    header = sign(body, key=KEY, unix_s=unix_s)

    assert header == f"t={unix_s}&s={mac}"
    assert verify(body, header, keys=[KEY], now_s=NOW_S) == KEY


def test_the_signed_form_of_a_request_is_canonical() -> None:
    assert canonical(b'{ "b": [true, null], "a": 1 }') == BODY


def test_prefix_is_no_part_of_the_key() -> None:
    assert sign(BODY, key=KEY[13:], unix_s=NOW_S) == sign(BODY, key=KEY, unix_s=NOW_S)


def test_fallback_key_verifies_and_is_named() -> None:
    header = sign(BODY, key=OTHER, unix_s=NOW_S)

    assert verify(BODY, header, keys=[KEY, OTHER], now_s=NOW_S) == OTHER


@pytest.mark.parametrize("age_s", [300, -300, 0])
def test_clocks_may_differ(age_s: int) -> None:
    header = sign(BODY, key=KEY, unix_s=NOW_S)

    assert verify(BODY, header, keys=[KEY], now_s=NOW_S + age_s) == KEY


@pytest.mark.parametrize("age_s", [301, -301, 360])
def test_too_old_or_too_new_is_refused(age_s: int) -> None:
    header = sign(BODY, key=KEY, unix_s=NOW_S)

    with pytest.raises(AuthError) as caught:
        verify(BODY, header, keys=[KEY], now_s=NOW_S + age_s)

    assert caught.value.code == "signature_invalid"
    assert caught.value.status == 401


@pytest.mark.parametrize("header", [None, ""])
def test_no_signature_has_a_code_of_its_own(header: str | None) -> None:
    with pytest.raises(AuthError) as caught:
        verify(BODY, header, keys=[KEY], now_s=NOW_S)

    assert caught.value.code == "signature_missing"


@pytest.mark.parametrize(
    "header",
    [
        "garbage",
        f"t={NOW_S}",
        f"s={MAC}",
        f"s={MAC}&t={NOW_S}",
        f"t={NOW_S}&s={MAC.upper()}",
        f"t={NOW_S}&s={MAC}&x=1",
        f"t={NOW_S + 1}&s={MAC}",
        f"t=-{NOW_S}&s={MAC}",
        f"t={NOW_S}&s={MAC[:-1]}0",
        f"t=&s={MAC}",
        "t=" + "9" * 1000 + f"&s={MAC}",
        f"t=\u0661&s={MAC}",
        f"t={NOW_S}&s={EMPTY_MAC}",
    ],
)
def test_bad_signature_is_refused(header: str) -> None:
    with pytest.raises(AuthError) as caught:
        verify(BODY, header, keys=[KEY], now_s=NOW_S)

    assert caught.value.code == "signature_invalid"


@pytest.mark.parametrize("keys", [[], [OTHER]])
def test_other_keys_are_refused(keys: list[str]) -> None:
    header = sign(BODY, key=KEY, unix_s=NOW_S)

    with pytest.raises(AuthError) as caught:
        verify(BODY, header, keys=keys, now_s=NOW_S)

    assert caught.value.code == "signature_invalid"


@pytest.mark.parametrize(
    "body", [b'{"a":1,"b":[true,null]}', b'{ "b": [true, null],\n "a": 1.0 }', b""]
)
def test_json_is_verified_whatever_its_formatting_is(body: bytes) -> None:
    header = sign(canonical(body) if body else b"", key=KEY, unix_s=1_760_000_000)

    assert verify_json(body, header, keys=[KEY], now_s=1_760_000_000) == KEY


@pytest.mark.parametrize("body", [b'{"a":2}', b"{", b"[" * 5_000, b"\xff", b"1e999"])
def test_other_json_is_refused(body: bytes) -> None:
    header = sign(b'{"a":1}', key=KEY, unix_s=1_760_000_000)

    with pytest.raises(AuthError) as caught:
        verify_json(body, header, keys=[KEY], now_s=1_760_000_000)
    assert caught.value.code == "signature_invalid"


def test_json_that_is_signed_as_it_is_need_not_be_canonical() -> None:
    body = b'{"n": 12345678901234567890}'
    header = sign(body, key=KEY, unix_s=1_760_000_000)

    assert verify_json(body, header, keys=[KEY], now_s=1_760_000_000) == KEY
