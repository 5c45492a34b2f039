"""Whatever bytes come, the parsers answer with a value or with an error of ours."""

from __future__ import annotations

import json as stdlib_json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stepwell.errors import AuthError
from stepwell.wire import json
from stepwell.wire.events import event_object, parse_events, parse_seed, seeded_event_id
from stepwell.wire.functions import (
    Registration,
    parse_connect_app,
    parse_equality,
    parse_function,
    parse_register,
)
from stepwell.wire.ids import ulid_ms
from stepwell.wire.keys import bearer_matches
from stepwell.wire.lifecycle import error_object
from stepwell.wire.ops import Op, parse_ops
from stepwell.wire.outcomes import Ops, Raised, Returned, outcome_from_connect
from stepwell.wire.signing import sign, verify
from tests.properties.wire.json_strategies import (
    JSON_OBJECTS,
    TEXT,
    hostile_bodies,
    json_values,
    value_unless_refused,
)

EVENT = {
    "name": "order/paid",
    "data": {"total": 12, "_inngest": {"fn_id": "x"}},
    "id": "o-1",
    "ts": 1_760_000_000_000,
    "user": {"id": "u"},
    "v": "1",
    "meta": {"sessions": {"chat": 7}, "propagated_sessions": {"a": "b"}},
}
STEP_RUN = {
    "op": "StepRun",
    "id": "1",
    "name": "a",
    "displayName": "a",
    "opts": {"type": "step.run"},
    "data": {"n": 1},
    "userland": {"id": "a", "index": 1},
}
STEP_ERROR = {"op": "steperror", "id": "2", "error": {"name": "E", "message": "m", "stack": "s"}}
FUNCTION = {
    "id": "shop-ship",
    "name": "Ship",
    "triggers": [{"event": "a/*", "expression": "event.data.a == 'b'"}, {"event": "b"}],
    "steps": {
        "step": {
            "name": "step",
            "runtime": {"type": "ws", "url": "wss://connect?fnId=shop-ship"},
            "retries": {"attempts": 2},
        }
    },
}
REGISTRATION = {
    "appName": "shop",
    "appVersion": "1",
    "url": "ws://connect",
    "sdk": "py:1",
    "deployType": "connect",
    "framework": "connect",
    "headers": {"platform": "x"},
    "capabilities": {"connect": "v1"},
    "functions": [FUNCTION],
}
EVENTS = hostile_bodies(EVENT, [EVENT, {"name": "b"}])
OPS = hostile_bodies([STEP_RUN, STEP_ERROR], STEP_RUN, [{"op": "RunComplete", "id": "3"}])
REGISTRATIONS = hostile_bodies(REGISTRATION, [FUNCTION])
REGISTRATION_CODES = (
    "registration_invalid",
    "app_id_missing",
    "function_invalid",
    "function_unsupported",
)
KEY = "signkey-test-abcd1234abcd1234"


@settings(deadline=None, max_examples=300)
@given(EVENTS)
@example(rb'{"name":"a","data":{"\u005finngest":"\ud83d"}}')
def test_events(body: bytes) -> None:
    events = value_unless_refused(
        lambda: parse_events(body, event_bytes_max=10_000),
        "invalid_json",
        "event_invalid",
        "event_name_empty",
        "event_name_reserved",
        "event_ts_invalid",
        "event_too_large",
    )
    assert events != []
    for event in events or ():
        data = json.decode(event.data)
        assert data is None or "_inngest" not in data
        whole = event_object(
            name=event.name,
            id=event.external_id or "1",
            ts_ms=event.ts_ms or 1,
            data=event.data,
            user=event.user,
            v=event.v,
            meta=event.meta,
        )
        assert list(json.decode(whole)) == sorted(json.decode(whole))


@settings(deadline=None)
@given(
    name=TEXT,
    event_id=TEXT,
    ts_ms=st.integers(0, 2**48),
    data=JSON_OBJECTS,
    user=st.none() | JSON_OBJECTS,
    v=st.none() | TEXT,
)
def test_an_event_object_is_what_it_was_made_of(
    name: str,
    event_id: str,
    ts_ms: int,
    data: dict[str, object],
    user: dict[str, object] | None,
    v: str | None,
) -> None:
    raw = event_object(
        name=name,
        id=event_id,
        ts_ms=ts_ms,
        data=json.encode(data),
        user=None if user is None else json.encode(user),
        v=v,
        meta=None,
    )
    value = {"data": data, "id": event_id, "name": name, "ts": ts_ms, "user": user or {}}

    assert json.decode(raw) == {**value, **({"v": v} if v else {})}
    assert raw == json.encode(json.decode(raw))


@settings(deadline=None)
@given(JSON_OBJECTS)
def test_event_data_keeps_its_bytes(data: dict[str, object]) -> None:
    data.pop("_inngest", None)
    raw = stdlib_json.dumps(data).encode()

    (event,) = parse_events(b'{"name":"a","data":' + raw + b"}", event_bytes_max=100_000)

    assert event.data == raw


@settings(deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"[0-9]{1,15},[A-Za-z0-9+/]{14}==", fullmatch=True))
def test_seeds(text: str) -> None:
    seed = parse_seed(text)

    if seed is not None:
        ids = [seeded_event_id(seed, n) for n in range(1, 4)]
        assert len(set(ids)) == 3
        assert {ulid_ms(raw) for raw in ids} == {seed.ms}


@settings(deadline=None, max_examples=300)
@given(OPS)
def test_ops(body: bytes) -> None:
    for op in value_unless_refused(lambda: parse_ops(body), "ops_invalid") or ():
        assert isinstance(op, Op)
        assert op.error is None or isinstance(json.decode(bytes(op.error)), dict)
        json.encode([op])


@settings(deadline=None, max_examples=300)
@given(
    st.integers(-1, 4),
    OPS,
    st.booleans(),
    st.none() | st.text(max_size=12),
    st.integers(0, 2**32 - 1),
)
def test_outcomes(
    status: int, body: bytes, no_retry: bool, retry_after: str | None, version: int
) -> None:
    outcome = outcome_from_connect(
        status=status,
        body=body,
        no_retry=no_retry,
        retry_after=retry_after,
        request_version=version,
        now_ms=1_760_000_000_000,
    )
    match outcome:
        case Returned(output=output):
            json.decode(output)
        case Raised(error=error):
            assert isinstance(json.decode(error), dict)
            assert isinstance(json.decode(error_object(error, "e")), dict)
        case Ops(version=seen):
            assert seen == version


@settings(deadline=None)
@given(st.binary(max_size=60) | json_values().map(json.encode))
def test_error_objects(output: bytes) -> None:
    error = json.decode(error_object(output, "text"))

    assert {"error", "name", "message"} <= set(error)
    assert isinstance(error["message"], str)


def announced(functions: bytes) -> Registration:
    return parse_connect_app(
        app_name="shop",
        app_version=None,
        functions=functions,
        sdk_language="py",
        sdk_version="1",
        framework="connect",
        platform="",
        capabilities=b"{}",
    )


@settings(deadline=None, max_examples=300)
@given(REGISTRATIONS)
def test_registrations(body: bytes) -> None:
    over_http = value_unless_refused(lambda: parse_register(body), *REGISTRATION_CODES)
    over_connect = value_unless_refused(lambda: announced(body), *REGISTRATION_CODES)

    for registration in (over_http, over_connect):
        for function in registration.functions if registration else ():
            assert parse_function(bytes(function.raw)) == function


@settings(deadline=None)
@given(st.text(max_size=60) | st.text("event.data == 'a\\\"", max_size=60))
def test_expressions(text: str) -> None:
    equality = value_unless_refused(lambda: parse_equality(text), "function_unsupported")

    assert equality is None or equality.path


@settings(deadline=None)
@given(TEXT.filter(lambda text: "\n" not in text))
def test_equality_reads_any_text_that_is_escaped(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")

    equality = parse_equality(f"event.data.a == '{escaped}'")
    assert equality is not None
    assert equality.value == text


@settings(deadline=None)
@given(st.none() | st.text(max_size=60))
def test_only_the_key_is_let_in(authorization: str | None) -> None:
    assert not bearer_matches(authorization, [KEY])


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 10**12 - 1), st.binary(min_size=1, max_size=8))
def test_signatures_hold_for_one_body_only(body: bytes, unix_s: int, more: bytes) -> None:
    header = sign(body, key=KEY, unix_s=unix_s)

    assert verify(body, header, keys=[KEY], now_s=unix_s) == KEY
    with pytest.raises(AuthError):
        verify(body + more, header, keys=[KEY], now_s=unix_s)
