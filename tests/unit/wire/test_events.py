"""Events: what is accepted, what is refused with which text, and the objects functions receive."""

from __future__ import annotations

import base64
import json

import pytest

from stepwell.errors import LimitExceeded, WireError
from stepwell.wire.events import (
    EventSeed,
    NewEvent,
    event_object,
    parse_events,
    parse_seed,
    seeded_event_id,
)

LIMIT = 3 * 2**20


def parse(body: bytes) -> list[NewEvent]:
    return parse_events(body, event_bytes_max=LIMIT)


def refusal(body: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        parse(body)
    assert caught.value.status == 400
    return caught.value


# --- accepted ---


def test_smallest_event() -> None:
    assert parse(b'{"name":"a"}') == [NewEvent(name="a", data=b"null")]


def test_all_fields() -> None:
    (event,) = parse(
        b'{"name":"order/paid","data":{"total":12},"id":"o-7","ts":1760000000000,'
        b'"user":{"id":"u"},"v":"2","meta":{"sessions":{"chat":"c-1"},"other":1}}'
    )

    assert event == NewEvent(
        name="order/paid",
        data=b'{"total":12}',
        ts_ms=1_760_000_000_000,
        external_id="o-7",
        user=b'{"id":"u"}',
        v="2",
        meta=b'{"sessions":{"chat":"c-1"}}',
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"name":"a","data":null,"id":null,"ts":null,"user":null,"v":null,"meta":null}',
        b'{"name":"a","id":"","ts":0,"v":""}',
        b'{"name":"a","unknown":[1,{"x":2}],"Unknown":null}',
        b'{"NAME":"a"}',
        b' \r\n\t{"name":"a"}\n ',
        rb'{"\u006eame":"a"}',
        b'{"name":"b","name":"a"}',
        b'{"Name":"b","name":"a"}',
        b'{"name":"a","Name":"b"}',
    ],
)
def test_null_and_zero_mean_absent_and_case_does_not_matter(body: bytes) -> None:
    assert parse(body) == [NewEvent(name="a", data=b"null")]


def test_array_keeps_the_order() -> None:
    assert [event.name for event in parse(b'[{"name":"a"},{"Name":"b","x":1},{"name":"c"}]')] == [
        "a",
        "b",
        "c",
    ]


def test_data_passes_through_as_bytes() -> None:
    data = '{ "big": 9007199254740993, "f": 1.0, "s": "é\\u00e9", "a":{"a":[ ]} }'.encode()

    (event,) = parse(b'{"name":"a","data":' + data + b"}")

    assert event.data == data


def test_half_of_an_emoji_is_replaced() -> None:
    (event,) = parse(rb'{"name":"cut \ud83d","data":{"t":"\ud83d","n":1.00}}')

    assert event.name == "cut �"
    assert event.data == rb'{"t":"\ufffd","n":1.00}'


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b'{"_inngest":{"fn_id":"x"},"n": 9007199254740993}', {"n": 9007199254740993}),
        (rb'{"\u005finngest":1,"n":1}', {"n": 1}),
        (rb'{"_inn\u0067est":1}', {}),
        (b'{"_inngest":1,"_inngest":2}', {}),
        (b'{"a":{"_inngest":1}}', {"a": {"_inngest": 1}}),
        (b'{"_Inngest":1}', {"_Inngest": 1}),
        (rb'{"a":"\"_inngest\""}', {"a": '"_inngest"'}),
    ],
)
def test_what_only_the_server_may_say_is_removed(data: bytes, kept: object) -> None:
    (event,) = parse(b'{"name":"a","data":' + data + b"}")

    assert json.loads(event.data) == kept


def test_encrypted_data_passes_through() -> None:
    data = b'{"encrypted":{"__ENCRYPTED__":true,"__STRATEGY__":"inngest/libsodium","data":"q=="}}'

    (event,) = parse(b'{"name":"a","data":' + data + b"}")

    assert event.data == data


@pytest.mark.parametrize("ts", [315_532_800_000, 4_102_444_800_000])
def test_time_bounds_are_included(ts: int) -> None:
    (event,) = parse(b'{"name":"a","ts":%d}' % ts)

    assert event.ts_ms == ts


def test_an_event_of_exactly_the_limit_is_taken() -> None:
    body = b'{"name":"a","data":{"x":"%b"}}' % (b"y" * 100)

    assert len(parse_events(body, event_bytes_max=len(body))) == 1
    assert len(parse_events(b"[%b,%b]" % (body, body), event_bytes_max=len(body))) == 2


def test_five_thousand_events_are_taken() -> None:
    assert len(parse(b"[" + b",".join([b'{"name":"a"}'] * 5_000) + b"]")) == 5_000


# --- refused ---


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b'{"name":""}', "event_name_empty", "event name is empty"),
        (b"{}", "event_name_empty", "event name is empty"),
        (b'{"name":null}', "event_name_empty", "event name is empty"),
        (
            b'{"name":"inngest/x"}',
            "event_name_reserved",
            "event name is reserved for internal use: inngest/x",
        ),
        (
            b'{"name":"INNGEST/x"}',
            "event_name_reserved",
            "event name is reserved for internal use: INNGEST/x",
        ),
        (
            b'{"name":"a","ts":315532799999}',
            "event_ts_invalid",
            "timestamp is before Jan 1, 1980",
        ),
        (b'{"name":"a","ts":-1}', "event_ts_invalid", "timestamp is before Jan 1, 1980"),
        (
            b'{"name":"a","ts":4102444800001}',
            "event_ts_invalid",
            "timestamp is after Jan 1, 2100",
        ),
        (
            b'{"name":"a","ts":99999999999999999999999}',
            "event_ts_invalid",
            "timestamp is after Jan 1, 2100",
        ),
        (b'{"name":"a","data":[]}', "event_invalid", "data must be an object"),
        (b'{"name":"a","data":"x"}', "event_invalid", "data must be an object"),
        (b'{"name":"a","user":1}', "event_invalid", "user must be an object"),
        (b"[]", "event_invalid", "the array holds no event"),
    ],
)
def test_refusal_texts(body: bytes, code: str, text: str) -> None:
    error = refusal(body)

    assert (error.code, error.message) == (code, text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "1"),
        ("name", "[]"),
        ("name", "true"),
        ("id", "7"),
        ("id", "{}"),
        ("ts", '"2025-01-01"'),
        ("ts", "1760000000000.5"),
        ("ts", "1760000000000.0"),
        ("ts", "1.76e12"),
        ("ts", "true"),
        ("v", "2"),
        ("meta", "1"),
        ("meta", '{"sessions":[]}'),
    ],
)
def test_wrong_type_of_a_field_is_refused(field: str, value: str) -> None:
    fields = {"name": '"a"', "data": "{}", field: value}
    body = "{" + ",".join(f'"{key}":{text}' for key, text in fields.items()) + "}"

    assert refusal(body.encode()).code == "event_invalid"
    assert (
        refusal(body.replace(f'"{field}"', f'"{field.upper()}"').encode()).code == "event_invalid"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"null",
        b'"a"',
        b"1",
        b"name=a&data=b",
        b'{"name":"a"',
        b'{"name":"a"} x',
        b'{"name":"a"}{"name":"b"}',
        b'[{"name":"a"},]',
        b'[{"name":"a"}',
        b'{"name":"a","data":{"n":1e400}}',
        b'{"name":"a","data":{"n":NaN}}',
        b'{"name":"\xff"}',
        b'{"name":"a","data":{"t":"\xed\xa0\x80"}}',
        b'{"name":"a","unread":{"t":"\xff"}}',
        b'{"name":"a","data":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b'{"name":"a","unread":' + b"[" * 300 + b"]" * 300 + b"}",
        b"[" * 1_000_000,
        b"\x1f\x8b\x08\x00\x00\x00",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert refusal(body).code == "invalid_json"


def test_a_bad_event_refuses_all_and_is_named() -> None:
    error = refusal(b'[{"name":"a"},{"name":""},{"name":"c"}]')

    assert error.message == "event name is empty (event 2 of 3)"


def test_a_bad_type_in_an_array_is_named() -> None:
    error = refusal(b'[{"name":"a"},{"name":"b","ts":"x"}]')

    assert error.code == "event_invalid"
    assert error.message.endswith("(event 2 of 2)")


def test_the_only_event_of_an_array_needs_no_place() -> None:
    assert refusal(b'[{"name":""}]').message == "event name is empty"


def test_an_array_of_other_things_is_refused() -> None:
    assert refusal(b'[{"name":"a"},1]').code == "event_invalid"
    assert refusal(b'[[{"name":"a"}]]').code == "event_invalid"


def test_too_many_events() -> None:
    error = refusal(b"[" + b",".join([b'{"name":"a"}'] * 5_001) + b"]")

    assert error.code == "events_too_many"
    assert "Cannot have more than 5000 events in a batch" in error.message


@pytest.mark.parametrize("wrap", [b"%b", b"[%b]", b'[{"name":"b"},%b]', b" %b\n"])
def test_too_large_event(wrap: bytes) -> None:
    event = b'{"name":"a","data":{"x":"%b"}}' % (b"y" * 1000)

    with pytest.raises(LimitExceeded) as caught:
        parse_events(wrap % event, event_bytes_max=1000)

    assert caught.value.code == "event_too_large"
    assert caught.value.status == 413
    text = f"Event is over the max size: Max 1000 bytes / Size {len(event)} bytes"
    assert text in caught.value.message


def test_a_long_reserved_name_is_not_repeated_in_full() -> None:
    assert len(refusal(b'{"name":"inngest/%b"}' % (b"x" * 10_000)).message) < 200


# --- seeds ---


def test_seed_counts_from_one_in_the_last_four_bytes() -> None:
    entropy = bytes(range(10))
    seed = parse_seed(f"1760000000000,{base64.b64encode(entropy).decode()}")

    assert seed == EventSeed(ms=1_760_000_000_000, entropy=entropy)
    assert seeded_event_id(seed, 1) == (1_760_000_000_000).to_bytes(6, "big") + bytes(
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]
    )


def test_seed_counter_wraps_without_touching_the_rest() -> None:
    seed = EventSeed(ms=0, entropy=bytes(6) + b"\xff\xff\xff\xff")

    assert seeded_event_id(seed, 1) == bytes(16)
    assert seeded_event_id(seed, 2)[-4:] == b"\x00\x00\x00\x01"


def test_seed_may_name_the_last_time_of_a_ulid() -> None:
    assert parse_seed(" 281474976710655,AAECAwQFBgcICQ== ") == EventSeed(
        ms=2**48 - 1, entropy=bytes(range(10))
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1760000000000",
        "1760000000000,",
        "1760000000000,AAECAwQFBgcICQ",
        "1760000000000,AAECAwQFBgcICQo=",
        "1760000000000,AAECAwQFBgc=",
        "-1,AAECAwQFBgcICQ==",
        "1.5,AAECAwQFBgcICQ==",
        "281474976710656,AAECAwQFBgcICQ==",
        "1760000000000,AAECAwQFBgcI CQ==",
        "9999999999999999999,AAECAwQFBgcICQ==",
        "\u0661,AAECAwQFBgcICQ==",
        "1760000000000,AAECAwQFBg-_CQ==",
        "x,y",
    ],
)
def test_bad_seed_is_ignored(text: str) -> None:
    assert parse_seed(text) is None


# --- what functions receive ---


def test_event_object_has_sorted_keys_and_no_empty_ones() -> None:
    assert event_object(
        name="order/paid",
        id="01K7T0BX000000000000000000",
        ts_ms=1_760_000_000_000,
        data=b'{"total":12}',
        user=None,
        v=None,
        meta=None,
    ) == (
        b'{"data":{"total":12},"id":"01K7T0BX000000000000000000","name":"order/paid",'
        b'"ts":1760000000000,"user":{}}'
    )


def test_event_object_with_everything() -> None:
    assert (
        event_object(
            name='a"b',
            id="é",
            ts_ms=1,
            data=b"null",
            user=b'{"id": 1}',
            v="2",
            meta=b'{"sessions":{"a":"b"}}',
        )
        == (
            '{"data":null,"id":"é","meta":{"sessions":{"a":"b"}},"name":"a\\"b","ts":1,'
            '"user":{"id": 1},"v":"2"}'
        ).encode()
    )
