"""The request of one call: the vector of the protocol, and what the SDK reads of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.errors import WireError
from stepwell.wire.calls import decode_call
from stepwell.wire.events import event_object
from stepwell.wire.json import canonical
from stepwell.wire.signing import sign
from tests.unit.wire.written_calls import written_call

EVENT = event_object(
    name="order/paid",
    id="01K7T0BX000000000000000000",
    ts_ms=1_760_000_000_000,
    data=b'{"total":12}',
    user=None,
    v=None,
    meta=None,
)
STEP_ID = "b2ae8f272ea660900fca3aeefbd39695c43f5cc9"


def call(**changes: Any) -> bytes:
    given: dict[str, Any] = {
        "event": EVENT,
        "events": [EVENT],
        "steps": [],
        "attempt": 0,
        "max_attempts": 3,
        "run_id": "01K7T0BZZZ0000000000000000",
        "fn_id": "5f1d0c0e-7a51-5b0e-8b52-0a4b6c0d9d11",
        "request_id": "01K7T0C0000000000000000001",
        "job_id": "3k1vd0q2m7",
        "generation": 1,
        "stack": [],
        "current": 0,
        "disable_immediate_execution": False,
        "use_api": False,
        "version": -1,
        "qi_id": "M2sxdmQwcTJtNzo6ZGVmYXVsdA==",
        **changes,
    }
    return written_call(**given)


def test_the_first_call_of_the_protocols_example() -> None:
    raw = call()

    assert len(raw) == 636
    assert sign(raw, key="signkey-prod-0123456789abcdef0123456789abcdef", unix_s=1_760_000_000) == (
        "t=1760000000&s=f1db93b8c06a558ad234478af87c3114b0c0268da751297c0fceab6fd26c9312"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"steps": [("b", b'{"data":1}'), ("a", b"null")], "stack": ["b", "a"], "current": 2},
        {"generation": 0, "job_id": "", "request_id": ""},
        {"use_api": True, "disable_immediate_execution": True, "events": []},
        {"events": [EVENT, EVENT]},
    ],
)
def test_what_is_sent_is_its_own_canonical_form(changes: dict[str, Any]) -> None:
    raw = call(**changes)

    assert canonical(raw) == raw


def test_second_call_remembers_the_step() -> None:
    memo = b'{"data":{"charge": "ch_9", "n": 9007199254740993}}'
    raw = call(steps=[(STEP_ID, memo)], stack=[STEP_ID], current=1, version=2)

    fields = json.loads(raw)
    assert fields["steps"] == {STEP_ID: {"data": {"charge": "ch_9", "n": 9007199254740993}}}
    assert fields["ctx"]["stack"] == {"current": 1, "stack": [STEP_ID]}
    assert fields["version"] == 2
    assert memo in raw


def test_integers_are_integers_and_required_fields_are_there() -> None:
    fields = json.loads(call())

    assert fields["use_api"] is fields["ctx"]["use_api"] is False
    assert fields["defers"] == {}
    assert fields["event"]["user"] == {}
    assert fields["ctx"]["env"] == ""
    assert fields["ctx"]["step_id"] == "step"
    assert type(fields["ctx"]["attempt"]) is int


def test_empty_ids_are_left_out() -> None:
    ctx = json.loads(call(generation=0, job_id="", request_id=""))["ctx"]

    assert not {"generation_id", "job_id", "request_id"} & set(ctx)


def test_ids_of_any_text_are_escaped() -> None:
    raw = call(steps=[('a"b\\é', b"1")], stack=['a"b\\é'], job_id='"')

    assert json.loads(raw)["steps"] == {'a"b\\é': 1}
    assert decode_call(raw).ctx.job_id == '"'


def test_decode_reads_what_encode_wrote() -> None:
    raw = call(
        steps=[(STEP_ID, b'{"data": 1.0}')],
        stack=[STEP_ID],
        current=1,
        attempt=2,
        disable_immediate_execution=True,
        version=2,
    )

    read = decode_call(raw)

    assert bytes(read.event) == EVENT
    assert [bytes(event) for event in read.events] == [EVENT]
    assert {key: bytes(memo) for key, memo in read.steps.items()} == {STEP_ID: b'{"data": 1.0}'}
    assert read.version == 2
    ctx = read.ctx
    assert (ctx.attempt, ctx.max_attempts, ctx.current, ctx.stack) == (2, 3, 1, (STEP_ID,))
    assert ctx.run_id == "01K7T0BZZZ0000000000000000"
    assert ctx.fn_id == "5f1d0c0e-7a51-5b0e-8b52-0a4b6c0d9d11"
    assert ctx.request_id == "01K7T0C0000000000000000001"
    assert (ctx.job_id, ctx.generation_id) == ("3k1vd0q2m7", 1)
    assert ctx.qi_id == "M2sxdmQwcTJtNzo6ZGVmYXVsdA=="
    assert (ctx.disable_immediate_execution, ctx.use_api) == (True, False)


def test_what_a_server_leaves_out_has_a_meaning() -> None:
    read = decode_call(
        b'{"event":{},"ctx":{"run_id":"r","stack":{"stack":null},"attempt":null,"new":1},'
        b'"steps":null,"events":null,"unknown":{}}'
    )

    assert (read.events, read.steps, read.version) == ([], {}, -1)
    assert (read.ctx.attempt, read.ctx.max_attempts, read.ctx.stack) == (0, None, ())
    assert (read.ctx.step_id, read.ctx.use_api) == ("step", False)
    assert (read.ctx.env, read.ctx.current, read.ctx.generation_id) == ("", 0, 0)


def test_an_environment_is_read() -> None:
    assert decode_call(b'{"event":{},"ctx":{"run_id":"r","env":"branch"}}').ctx.env == "branch"


@pytest.mark.parametrize("place", ["use_api", "ctx"])
def test_either_use_api_counts(place: str) -> None:
    ctx = {"run_id": "r", **({"use_api": True} if place == "ctx" else {})}
    top = {"use_api": True} if place == "use_api" else {}

    assert decode_call(json.dumps({"event": {}, "ctx": ctx, **top}).encode()).ctx.use_api


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'{"event":{}}',
        b'{"ctx":{"run_id":"r"}}',
        b'{"event":{},"ctx":{}}',
        b'{"event":{},"ctx":{"run_id":7}}',
        b'{"event":{},"ctx":{"run_id":"r","attempt":0.5}}',
        b'{"event":{},"ctx":{"run_id":"r"},"steps":[]}',
        b'{"event":{},"ctx":{"run_id":"r"},"steps":{"\xff":1}}',
        b'{"event":' + b"[" * 100_000 + b"]" * 100_000 + b',"ctx":{"run_id":"r"}}',
    ],
)
def test_what_is_no_call_is_refused(raw: bytes) -> None:
    with pytest.raises(WireError) as caught:
        decode_call(raw)

    assert caught.value.code == "call_invalid"
