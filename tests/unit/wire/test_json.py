"""JSON from peers: what is read, what is mended, what is refused."""

from __future__ import annotations

import msgspec
import pytest

from stepwell.errors import WireError
from stepwell.wire import json

RAWS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"null", None),
        (b' {"a": [1, true]} ', {"a": [1, True]}),
        (b"9007199254740993", 9007199254740993),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b'{"a":1,"a":2}', {"a": 2}),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        ('"é"', "é"),
        ('"é"'.encode(), "é"),
    ],
)
def test_decode_reads(raw: bytes | str, value: object) -> None:
    assert json.decode(raw) == value


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb'"\ud83d"', "�"),
        (rb'"cut \ud83d"', "cut �"),
        (rb'"\ude00 first"', "� first"),
        (rb'"\ud83d\ud83d\ude00"', "�\U0001f600"),
        (rb'"\\ud83d \uD83D"', "\\ud83d �"),
        (rb'"\ud800\u0041"', "�A"),
    ],
)
def test_half_of_a_surrogate_pair_is_replaced(raw: bytes, text: str) -> None:
    assert json.decode(raw) == text


def test_mending_leaves_the_bytes_beside_it_alone() -> None:
    fields = json.decode_with(RAWS, rb'{"a":"\ud83d","b":  9007199254740993}')

    assert bytes(fields["a"]) == rb'"\ufffd"'
    assert bytes(fields["b"]) == b"9007199254740993"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"nul",
        b"NaN",
        b"Infinity",
        b"[1,]",
        b"01",
        b"1 2",
        b"\xef\xbb\xbf1",
        b'"a\nb"',
        b'"\\x"',
        b"1e400",
        b"1" * 5000,
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\x00",
        "\ud800",
        b"\x1f\x8b\x08\x00",
    ],
)
def test_decode_refuses(raw: bytes | str) -> None:
    with pytest.raises(WireError) as caught:
        json.decode(raw)

    assert caught.value.code == "invalid_json"
    assert caught.value.status == 400


def test_parts_that_stay_bytes_are_text() -> None:
    with pytest.raises(WireError, match="UTF-8"):
        json.decode_with(RAWS, b'{"a":"\xff"}')


def test_wrong_type_is_refused_with_its_place() -> None:
    with pytest.raises(WireError, match=r"at `\$\[1\]`"):
        json.decode_with(msgspec.json.Decoder(list[int]), b"[1,1.5]")


@pytest.mark.parametrize(
    "raw",
    [
        nested(json.DEPTH_MAX),
        b"[" + b",".join([nested(json.DEPTH_MAX - 1)] * 3) + b"]",
        b'["' + b"[{" * 10_000 + b'"]',
        b'["' + b'\\"[' * 10_000 + b'"]',
        b'["\\\\","' + b"[" * 300 + b'"]',
        b'{"' + b"[" * 300 + b'":"' + b"{" * 300 + b'"}',
        b"[" + b'"[",' * 300 + b"1]",
    ],
)
def test_depth_up_to_the_limit_is_read(raw: bytes) -> None:
    assert json.decode(raw)


@pytest.mark.parametrize(
    "raw",
    [
        nested(json.DEPTH_MAX + 1),
        nested(1_000_000),
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b'["\\"",' + nested(json.DEPTH_MAX) + b"]",
        b'["\\\\",' + nested(json.DEPTH_MAX) + b"]",
        b'["","",' + nested(json.DEPTH_MAX) + b"]",
    ],
)
def test_a_bomb_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError) as caught:
        json.decode(raw)

    assert caught.value.code == "invalid_json"


def test_siblings_do_not_add_up_and_do_not_hide_the_depth() -> None:
    wide = b"[" + b"[]," * 1_000 + b"{}]"
    deep = b"[[]," * json.DEPTH_MAX + b"[]" + b"]" * json.DEPTH_MAX

    assert len(json.decode(wide)) == 1_001
    with pytest.raises(WireError, match="256"):
        json.decode(deep)


def test_depth_holds_for_parts_that_stay_bytes() -> None:
    with pytest.raises(WireError, match="256"):
        json.decode_with(RAWS, b'{"a":' + nested(json.DEPTH_MAX) + b"}")


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        (b'{ "b" : [true, null], "a" : 1.0 }', b'{"a":1,"b":[true,null]}'),
        (b"-0.0", b"0"),
        (b"1e21", b"1e+21"),
        (b"12345678901234567890", b"12345678901234567000"),
        (b"9007199254740993", b"9007199254740992"),
        ('{"\U0001f600":1,"\ufb33":2}'.encode(), '{"\U0001f600":1,"\ufb33":2}'.encode()),
    ],
)
def test_canonical_form(raw: bytes, form: bytes) -> None:
    assert json.canonical(raw) == form


@pytest.mark.parametrize("raw", [b"{", b"1" + b"0" * 400, nested(300)])
def test_canonical_refuses(raw: bytes) -> None:
    with pytest.raises(WireError) as caught:
        json.canonical(raw)

    assert caught.value.code == "invalid_json"


def test_encode_is_compact() -> None:
    assert json.encode({"a": [1, "é"], "b": None}) == '{"a":[1,"é"],"b":null}'.encode()
