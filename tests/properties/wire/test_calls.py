"""Calls round-trip, and only WireError leaves the reader."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.wire import json
from stepwell.wire.calls import CallContext, decode_call
from tests.properties.wire.json_strategies import (
    JSON_OBJECTS,
    TEXT,
    hostile_bodies,
    json_values,
    value_unless_refused,
)
from tests.unit.wire.written_calls import written_call

ENCODED = json_values().map(json.encode)
STEPS = st.dictionaries(TEXT, ENCODED, max_size=5)
CALL = {
    "ctx": {"attempt": 0, "run_id": "r", "stack": {"current": 0, "stack": ["a"]}, "use_api": False},
    "event": {"name": "a"},
    "events": [{"name": "a"}],
    "steps": {"a": {"data": 1}},
    "version": 2,
}


@settings(deadline=None)
@given(
    event=JSON_OBJECTS.map(json.encode),
    more=st.lists(JSON_OBJECTS.map(json.encode), max_size=2),
    steps=STEPS,
    stack=st.lists(TEXT, max_size=5),
    ids=st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT),
    numbers=st.tuples(*[st.integers(0, 2**31)] * 4),
    flags=st.tuples(st.booleans(), st.booleans()),
    version=st.integers(-1, 2**32),
)
def test_decode_reads_what_encode_wrote(
    event: bytes,
    more: list[bytes],
    steps: dict[str, bytes],
    stack: list[str],
    ids: tuple[str, str, str, str, str],
    numbers: tuple[int, int, int, int],
    flags: tuple[bool, bool],
    version: int,
) -> None:
    run_id, fn_id, request_id, job_id, qi_id = ids
    attempt, max_attempts, generation, current = numbers
    plan_only, use_api = flags

    raw = written_call(
        event=event,
        events=[event, *more],
        steps=list(steps.items()),
        attempt=attempt,
        max_attempts=max_attempts,
        run_id=run_id,
        fn_id=fn_id,
        request_id=request_id,
        job_id=job_id,
        generation=generation,
        stack=stack,
        current=current,
        disable_immediate_execution=plan_only,
        use_api=use_api,
        version=version,
        qi_id=qi_id,
    )
    call = decode_call(raw)

    assert bytes(call.event) == event
    assert [bytes(other) for other in call.events] == [event, *more]
    assert {step_id: bytes(memo) for step_id, memo in call.steps.items()} == steps
    assert call.version == version
    assert call.ctx == CallContext(
        run_id=run_id,
        fn_id=fn_id,
        attempt=attempt,
        max_attempts=max_attempts,
        env="",
        step_id="step",
        stack=tuple(stack),
        current=current,
        qi_id=qi_id,
        request_id=request_id,
        generation_id=generation,
        job_id=job_id,
        disable_immediate_execution=plan_only,
        use_api=use_api,
    )


@settings(deadline=None)
@given(steps=STEPS)
def test_order_of_keys_is_canonical(steps: dict[str, bytes]) -> None:
    ascii_steps = {step_id: memo for step_id, memo in steps.items() if step_id.isascii()}
    raw = written_call(
        event=b"{}",
        events=[b"{}"],
        steps=list(ascii_steps.items()),
        attempt=0,
        max_attempts=1,
        run_id="r",
        fn_id="f",
        request_id="q",
        job_id="j",
        generation=1,
        stack=[],
        current=0,
        disable_immediate_execution=False,
        use_api=False,
        version=-1,
        qi_id="i",
    )
    fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    memos = msgspec.json.decode(fields["steps"], type=dict[str, msgspec.Raw])

    assert list(fields) == sorted(fields)
    assert list(memos) == sorted(memos)


@settings(deadline=None)
@given(hostile_bodies(CALL))
def test_only_wire_errors_leave(body: bytes) -> None:
    call = value_unless_refused(lambda: decode_call(body), "call_invalid")

    assert call is None or isinstance(call.ctx.run_id, str)
