"""What calls report: operations as the SDKs write them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.errors import LimitExceeded, WireError
from stepwell.wire import ops
from stepwell.wire.ids import RUN_COMPLETE_STEP
from stepwell.wire.json import encode
from stepwell.wire.ops import Op, Userland, parse_ops

STEP_ID = "b2ae8f272ea660900fca3aeefbd39695c43f5cc9"


def parse_one(**fields: Any) -> Op:
    (op,) = parse_ops(encode([{"op": "StepRun", "id": STEP_ID, **fields}]))
    return op


def refusal(body: bytes) -> WireError:
    with pytest.raises(WireError) as caught:
        parse_ops(body)
    assert caught.value.code == "ops_invalid"
    return caught.value


def test_a_step_as_the_python_sdk_reports_it() -> None:
    (op,) = parse_ops(
        b'[{"displayName": "charge-card", "id": "b2ae8f272ea660900fca3aeefbd39695c43f5cc9", '
        b'"name": "charge-card", "op": "StepRun", "opts": null, '
        b'"userland": {"id": "charge-card", "index": null}, "data": {"charge": "ch_9"}}]'
    )

    assert (op.op, op.id, op.name, op.display_name) == (
        ops.STEP_RUN,
        STEP_ID,
        "charge-card",
        "charge-card",
    )
    assert bytes(op.data) == b'{"charge": "ch_9"}'
    assert bytes(op.opts) == b"null"
    assert op.error is None
    assert op.userland == Userland(id="charge-card", index=None)


def test_a_failed_step_as_the_typescript_sdk_reports_it() -> None:
    (op,) = parse_ops(
        b'[{"id":"b2ae8f272ea660900fca3aeefbd39695c43f5cc9","op":"StepError","name":"a",'
        b'"displayName":"a","opts":{},"userland":{"id":"a"},"timing":{"a":1,"b":2},"data":null,'
        b'"error":{"name":"E","message":"m","stack":"s","__serialized":true}}]'
    )

    assert op.op == ops.STEP_ERROR
    assert op.error is not None
    assert bytes(op.error) == b'{"name":"E","message":"m","stack":"s","__serialized":true}'
    assert bytes(op.data) == b"null"


def test_planned_steps_and_a_sleep() -> None:
    planned, sleep = parse_ops(
        b'[{"op":"StepPlanned","id":"1","displayName":"charge-card",'
        b'"userland":{"id":"charge-card"},"data":null},'
        b'{"op":"Sleep","id":"2","name":"1h30m","displayName":"nap",'
        b'"userland":{"id":"nap","index":1}}]'
    )

    assert (planned.op, planned.label) == (ops.STEP_PLANNED, "charge-card")
    assert (sleep.op, sleep.name, sleep.userland) == (
        ops.SLEEP,
        "1h30m",
        Userland(id="nap", index=1),
    )


def test_a_single_object_is_an_array_of_one() -> None:
    (op,) = parse_ops(b' {"op":"RunComplete","id":"%b","data":[1]} ' % RUN_COMPLETE_STEP.encode())

    assert (op.op, bytes(op.data)) == (ops.RUN_COMPLETE, b"[1]")


def test_no_operation_is_legal() -> None:
    assert parse_ops(b"[]") == ()


@pytest.mark.parametrize("spelling", ["steprun", "STEPRUN", "stepRun", "StepRun"])
def test_op_in_any_letter_case(spelling: str) -> None:
    assert parse_one(op=spelling).op == ops.STEP_RUN


@pytest.mark.parametrize("spelling", ["WaitForever", "waitforever", "Nonsense"])
def test_an_op_that_is_not_known_keeps_its_spelling(spelling: str) -> None:
    assert parse_one(op=spelling).op == spelling


def test_keys_in_any_letter_case_and_unknown_ones() -> None:
    (op,) = parse_ops(
        b'[{"OP":"StepRun","ID":"1","displayname":"d","Data":9007199254740993,'
        b'"Userland":{"id":"u"},"mode":"x"}]'
    )

    assert (op.op, op.id, op.label) == (ops.STEP_RUN, "1", "d")
    assert bytes(op.data) == b"9007199254740993"


def test_null_means_absent() -> None:
    op = parse_one(name=None, displayName=None, opts=None, data=None, error=None, userland=None)

    assert (op.name, op.display_name, op.error, op.userland) == ("", "", None, None)
    assert parse_one(userland={"id": None}).userland is None


def test_output_keeps_its_bytes() -> None:
    data = '{ "big": 12345678901234567890, "f": 1.0, "é": "\\u00e9" }'.encode()

    (op,) = parse_ops(b'[{"op":"StepRun","id":"1","data":' + data + b"}]")

    assert bytes(op.data) == data


def test_half_of_an_emoji_is_replaced() -> None:
    (op,) = parse_ops(rb'[{"op":"StepRun","id":"1","data":"cut \ud83d"}]')

    assert bytes(op.data) == rb'"cut \ufffd"'


def test_a_step_that_does_nothing_needs_no_id() -> None:
    (op,) = parse_ops(b'[{"op":"none"}]')

    assert (op.op, op.id) == (ops.NONE, "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"done",
        b'"x"',
        b"1",
        b"[1]",
        b"[null]",
        b"[[]]",
        b"[",
        b'[{"op":"StepRun","id":"1"}',
        b'{"op":"StepRun","id":"1"},{"op":"StepRun","id":"2"}',
        b'[{"id":"1"}]',
        b'[{"op":null,"id":"1"}]',
        b'[{"op":"","id":"1"}]',
        b'[{"op":1,"id":"1"}]',
        b'[{"op":"StepRun"}]',
        b'[{"op":"StepRun","id":""}]',
        b'[{"op":"StepRun","id":7}]',
        b'[{"op":"StepRun","id":"%b"}]' % (b"x" * 513),
        b'[{"op":"StepRun","id":"1","name":1}]',
        b'[{"op":"StepRun","id":"1","displayName":[]}]',
        b'[{"op":"StepRun","id":"1","userland":"u"}]',
        b'[{"op":"StepRun","id":"1","userland":{"id":1}}]',
        b'[{"op":"StepRun","id":"1","userland":{"id":"u","index":1.5}}]',
        b'[{"op":"StepError","id":"1","error":"text"}]',
        b'[{"op":"StepError","id":"1","error":[]}]',
        b'[{"op":"StepError","id":"1","error":{"n":1e400}}]',
        b'[{"op":"RunComplete","id":"1","data":1e400}]',
        b'[{"op":"StepRun","id":"1","data":NaN}]',
        b'[{"op":"StepRun","id":"1","data":"\xff"}]',
        b'[{"op":"StepRun","id":"1","data":' + b"[" * 300 + b"]" * 300 + b"}]",
        b'[{"op":"StepRun","id":"1","unknown":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
        b"[" * 1_000_000,
        b'{"op":' * 1_000_000,
    ],
)
def test_what_is_no_list_of_operations_is_refused(body: bytes) -> None:
    assert len(refusal(body).message) < 300


def test_a_refusal_names_the_operation() -> None:
    body = b'[{"op":"StepRun","id":"1"},{"op":"Sleep"}]'

    assert refusal(body).message == "operation 2 (Sleep) has no id"


def test_a_thousand_operations_are_taken_and_one_more_is_not() -> None:
    op = {"op": "StepPlanned", "id": "1"}

    assert len(parse_ops(encode([op] * 1_000))) == 1_000
    with pytest.raises(LimitExceeded) as caught:
        parse_ops(encode([op] * 1_001))

    assert caught.value.code == "ops_too_many"
    assert (caught.value.limit, caught.value.seen) == (1_000, 1_001)


def test_a_step_of_exactly_the_limits_is_taken() -> None:
    limit = 4 * 1024 * 1024
    assert limit == ops.STEP_BYTES_MAX

    assert parse_one(data="x" * (limit - 2)).id == STEP_ID
    assert parse_one(opts="x" * (limit - 2)).id == STEP_ID
    assert parse_one(id="x" * 512).id == "x" * 512


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"data": "x" * (ops.STEP_BYTES_MAX - 1)}, "step_output_too_large"),
        ({"error": {"message": "x" * ops.STEP_BYTES_MAX}}, "step_output_too_large"),
        ({"opts": {"input": ["x" * ops.STEP_BYTES_MAX]}}, "step_input_too_large"),
    ],
)
def test_too_large_a_step_is_refused_by_name(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(LimitExceeded) as caught:
        parse_one(displayName="fetch-all", **fields)

    assert caught.value.code == code
    assert "'fetch-all'" in caught.value.message
    assert len(caught.value.message) < 300


def test_a_functions_result_is_not_bound_by_a_steps_limit() -> None:
    assert parse_one(op="RunComplete", data="x" * ops.STEP_BYTES_MAX).op == ops.RUN_COMPLETE


@pytest.mark.parametrize(
    ("op", "label"),
    [
        (Op(op="x", id="1", name="n", display_name="d", userland=Userland(id="u")), "d"),
        (Op(op="x", id="1", name="n", userland=Userland(id="u")), "u"),
        (Op(op="x", id="1", name="n"), "n"),
        (Op(op="x", id="1"), "1"),
    ],
)
def test_label(op: Op, label: str) -> None:
    assert op.label == label


def test_what_our_sdk_writes_is_read_back() -> None:
    op = parse_one(userland={"id": "u", "index": 2}, displayName="d", name="n", data=[1])

    assert parse_ops(encode([op])) == (op,)
