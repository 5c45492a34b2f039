"""A run's rows as a tree of spans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.engine.rows import HistoryKind, RunStatus, StepKind
from stepwell.server.api.step_details import EventWait, Invocation, SignalWait
from stepwell.server.api.timeline import build_tree
from stepwell.store.memory import MemoryStore
from tests.unit.server.api.rows import (
    SHOP,
    T0_MS,
    ended,
    history,
    put_event,
    put_run,
    run_id,
    running,
    step,
)

if TYPE_CHECKING:
    from stepwell.engine.rows import Write
    from stepwell.server.api.timeline import Span

ERROR = b'{"name":"E","message":"m"}'


def tree(*rows: Write) -> Span:
    store = MemoryStore()
    store.commit([*SHOP, put_event(), put_run(), *rows])
    reader = store.reader()
    run = reader.run(run_id(1))
    assert run is not None
    return build_tree(run, reader.steps(run.run_id), reader.history(run.run_id))


def shape(span: Span) -> list[tuple[str, str]]:
    return [(child.name, child.status) for child in span.children]


def test_a_run_that_has_not_begun_is_a_root_alone() -> None:
    root = tree()
    assert (root.name, root.status, root.children) == ("Run", "QUEUED", ())
    assert root.queued_at_ms == T0_MS + 6
    assert root.started_at_ms is root.ended_at_ms is root.duration_ms is None


def test_a_finished_run_shows_its_steps_and_its_end() -> None:  # server 29
    root = tree(running(), step(0), step(1, name="ship"), ended())
    assert (root.status, root.output, root.duration_ms) == ("COMPLETED", b'{"ok":true}', 1_000)
    assert shape(root) == [
        ("charge", "COMPLETED"),
        ("ship", "COMPLETED"),
        ("Finalization", "COMPLETED"),
    ]
    charge, _ship, last = root.children
    assert (charge.step_op, charge.step_id, charge.output) == ("RUN", f"{0:040x}", b'{"n":1}')
    assert (charge.children, charge.duration_ms) == ((), 5)
    assert (last.step_op, last.step_id, last.output, last.children) == (None, None, None, ())


def test_a_step_that_was_tried_twice_shows_both_attempts() -> None:  # server 30
    failed = history(
        0, HistoryKind.ATTEMPT_FAILED, step_id=f"{0:040x}", name="charge", payload=ERROR
    )
    root = tree(running(), failed, step(0, attempt=1), ended())
    charge = root.children[0]
    assert shape(charge) == [("Attempt 0", "FAILED"), ("Attempt 1", "COMPLETED")]
    assert [attempt.output for attempt in charge.children] == [ERROR, b'{"n":1}']


def test_a_step_that_waits_for_its_next_attempt_is_queued() -> None:
    failed = history(
        0, HistoryKind.ATTEMPT_FAILED, step_id=f"{0:040x}", name="charge", payload=ERROR
    )
    root = tree(running(), failed)
    assert (root.status, shape(root)) == ("RUNNING", [("charge", "QUEUED")])
    assert shape(root.children[0]) == [("Attempt 0", "FAILED")]


def test_a_step_that_failed_for_good_shows_its_only_attempt() -> None:
    root = tree(running(), step(0, kind=StepKind.FAILED, data=ERROR), ended())
    assert root.children[0].status == "FAILED"
    assert shape(root.children[0]) == [("Attempt 0", "FAILED")]


def test_a_lost_call_is_told_and_is_no_attempt() -> None:
    lost = history(0, HistoryKind.CALL_LOST, step_id=f"{0:040x}")
    root = tree(running(), lost, step(0), ended())
    assert shape(root.children[0]) == [("Lost call", "FAILED"), ("Attempt 0", "COMPLETED")]


def test_a_planned_step_is_queued_until_it_is_done() -> None:
    planned = history(0, HistoryKind.STEP_PLANNED, step_id=f"{0:040x}", name="charge")
    assert shape(tree(running(), planned)) == [("charge", "QUEUED")]
    (done, _last) = tree(running(), planned, step(0), ended()).children
    assert (done.status, done.queued_at_ms) == ("COMPLETED", T0_MS + 150)


def test_a_sleep_waits_and_then_is_over_without_output() -> None:
    due_ms = T0_MS + 60_000
    began = history(
        0, HistoryKind.SLEEP_STARTED, step_id=f"{0:040x}", name="nap", payload=b"%d" % due_ms
    )
    (sleeping,) = tree(running(), began).children
    assert (sleeping.name, sleeping.status, sleeping.step_op) == ("nap", "WAITING", "SLEEP")
    assert (sleeping.sleep_until_ms, sleeping.ended_at_ms) == (due_ms, None)
    slept = step(0, name="nap", kind=StepKind.SLEEP, data=b"")
    (over, _last) = tree(running(), began, slept, ended()).children
    assert (over.status, over.step_op, over.output) == ("COMPLETED", "SLEEP", None)
    assert over.sleep_until_ms == due_ms


WAIT = b'{"event":"shop/paid","if":"async.data.n == 1","until":"2026-09-21T14:14:20.000Z"}'
SIGNAL = b'{"signal":"go","until":"2026-09-21T14:14:20.000Z"}'
INVOKE = b'{"event":"E","function":"shop-pay","run":"R","until":"2026-09-21T14:14:20.000Z"}'
UNTIL_MS = T0_MS + 60_000
STEP = f"{0:040x}"


def began(kind: HistoryKind, payload: bytes, seq: int = 0) -> Write:
    return history(seq, kind, step_id=STEP, name="await", payload=payload)


def test_a_wait_for_an_event_has_what_it_found() -> None:  # server 9.2
    row = began(HistoryKind.WAIT_STARTED, WAIT)
    (waiting,) = tree(running(), row).children
    assert (waiting.name, waiting.status, waiting.step_op) == ("await", "WAITING", "WAIT_FOR_EVENT")
    assert waiting.detail == EventWait(
        event="shop/paid", condition="async.data.n == 1", until_ms=UNTIL_MS, timed_out=None
    )
    assert (waiting.ended_at_ms, waiting.output) == (None, None)
    found = step(0, name="await", kind=StepKind.EVENT, data=b'{"name":"shop/paid"}')
    (over, _last) = tree(running(), row, found, ended()).children
    assert (over.status, over.output) == ("COMPLETED", b'{"name":"shop/paid"}')
    assert isinstance(over.detail, EventWait)
    assert over.detail.timed_out is False
    nothing = step(0, name="await", kind=StepKind.EVENT, data=b"null")
    (over, _last) = tree(running(), row, nothing, ended()).children
    assert (over.status, over.output, over.children) == ("COMPLETED", None, ())
    assert isinstance(over.detail, EventWait)
    assert over.detail.timed_out is True


@pytest.mark.parametrize(
    ("kind", "data", "output", "timed_out"),
    [
        (StepKind.SIGNAL, b'{"signal":"go"}', b'{"signal":"go"}', False),
        (StepKind.SIGNAL_TIMEOUT, b"null", None, True),
    ],
)
def test_a_wait_for_a_signal_is_over_with_it_or_without(
    kind: StepKind, data: bytes, output: bytes | None, timed_out: bool
) -> None:
    row = began(HistoryKind.SIGNAL_WAIT_STARTED, SIGNAL)
    (waiting,) = tree(running(), row).children
    assert (waiting.status, waiting.step_op) == ("WAITING", "WAIT_FOR_SIGNAL")
    (over, _last) = tree(running(), row, step(0, kind=kind, data=data), ended()).children
    assert (over.status, over.output) == ("COMPLETED", output)
    assert over.detail == SignalWait(signal="go", until_ms=UNTIL_MS, timed_out=timed_out)


@pytest.mark.parametrize(
    ("kind", "data", "status", "timed_out"),
    [
        (StepKind.INVOKE, b"7", "COMPLETED", False),
        (StepKind.FAILED, ERROR, "FAILED", False),
        (StepKind.FAILED, b'"no object"', "FAILED", False),
        (StepKind.FAILED, b'{"name":"InngestInvokeTimeoutError"}', "FAILED", True),
    ],
)
def test_an_invoked_function_is_told_of(
    kind: StepKind, data: bytes, status: str, timed_out: bool
) -> None:
    row = began(HistoryKind.INVOKE_STARTED, INVOKE)
    (waiting,) = tree(running(), row).children
    assert (waiting.status, waiting.step_op) == ("WAITING", "INVOKE")
    (over, _last) = tree(running(), row, step(0, kind=kind, data=data), ended()).children
    assert (over.status, over.output, over.children) == (status, data, ())
    assert over.detail == Invocation(
        function="shop-pay", event_id="E", run_id="R", until_ms=UNTIL_MS, timed_out=timed_out
    )


@pytest.mark.parametrize(
    ("kind", "op"), [(HistoryKind.FETCH_STARTED, "RUN"), (HistoryKind.INFER_STARTED, "AI_GATEWAY")]
)
def test_a_request_of_the_servers_runs_until_it_is_answered(kind: HistoryKind, op: str) -> None:
    (asked,) = tree(running(), began(kind, b'{"url":"http://x"}')).children
    assert (asked.name, asked.status, asked.step_op) == ("await", "RUNNING", op)
    assert asked.started_at_ms == T0_MS + 150


def test_failed_attempts_before_a_wait_are_its_attempts() -> None:
    failed = history(0, HistoryKind.ATTEMPT_FAILED, step_id="step", payload=ERROR)
    row = began(HistoryKind.WAIT_STARTED, WAIT, seq=1)
    (waiting,) = tree(running(), failed, row).children
    assert shape(waiting) == [("Attempt 0", "FAILED"), ("Attempt 1", "WAITING")]
    found = step(0, kind=StepKind.EVENT, data=b"{}")
    (over, last) = tree(running(), failed, row, found, ended()).children
    assert shape(over) == [("Attempt 0", "FAILED"), ("Attempt 1", "COMPLETED")]
    assert (last.name, last.children) == ("Finalization", ())


def test_failed_attempts_after_a_wait_are_the_functions() -> None:
    row = began(HistoryKind.WAIT_STARTED, WAIT)
    found = step(0, kind=StepKind.EVENT, data=b"{}")
    failed = history(1, HistoryKind.ATTEMPT_FAILED, step_id="step", payload=ERROR)
    (over, last) = tree(running(), row, found, failed, ended()).children
    assert over.children == ()
    assert shape(last) == [("Attempt 0", "FAILED"), ("Attempt 1", "COMPLETED")]


def test_what_is_no_step_is_not_among_the_steps() -> None:
    deferred = history(
        0, HistoryKind.DEFERRED, step_id=STEP, name="later", payload=b'{"fn_slug":"f","input":{}}'
    )
    withdrawn = history(1, HistoryKind.DEFER_WITHDRAWN, step_id=STEP)
    told = history(2, HistoryKind.CANCELLED, step_id="step", payload=b'{"reason":"a request"}')
    root = tree(running(), deferred, withdrawn, told, ended(status=RunStatus.CANCELLED, output=b""))
    assert (root.status, root.children) == ("CANCELLED", ())


def test_what_a_finished_run_left_undone_is_cancelled() -> None:
    planned = history(0, HistoryKind.STEP_PLANNED, step_id=f"{0:040x}", name="charge")
    root = tree(running(), planned, ended(status=RunStatus.FAILED, output=ERROR))
    assert shape(root) == [("charge", "CANCELLED"), ("Finalization", "FAILED")]
    assert root.children[0].ended_at_ms == T0_MS + 1_100


def test_a_function_that_failed_shows_all_its_attempts() -> None:  # server 30
    tries = [
        history(n, HistoryKind.ATTEMPT_FAILED, step_id="step", attempt=n, payload=ERROR)
        for n in range(2)
    ]
    root = tree(running(), *tries, ended(status=RunStatus.FAILED, output=ERROR))
    (last,) = root.children
    assert (last.name, last.status) == ("Finalization", "FAILED")
    assert shape(last) == [
        ("Attempt 0", "FAILED"),
        ("Attempt 1", "FAILED"),
        ("Attempt 2", "FAILED"),
    ]


def test_a_function_that_is_tried_again_is_an_execution() -> None:
    failed = history(0, HistoryKind.ATTEMPT_FAILED, step_id="step", payload=ERROR)
    (again,) = tree(running(), failed).children
    assert (again.name, again.status) == ("Execution", "QUEUED")
    assert shape(again) == [("Attempt 0", "FAILED")]


def test_a_failed_call_belongs_to_the_step_that_its_next_attempt_found() -> None:
    failed = history(0, HistoryKind.ATTEMPT_FAILED, step_id="step", payload=ERROR)
    root = tree(running(), failed, step(0, attempt=1), ended())
    assert shape(root) == [("charge", "COMPLETED"), ("Finalization", "COMPLETED")]
    assert shape(root.children[0]) == [("Attempt 0", "FAILED"), ("Attempt 1", "COMPLETED")]
    assert root.children[1].children == ()


def test_spans_keep_their_ids_and_no_two_are_equal() -> None:
    rows = (
        running(),
        history(0, HistoryKind.ATTEMPT_FAILED, step_id=f"{0:040x}", payload=ERROR),
        history(1, HistoryKind.CALL_LOST, step_id=f"{0:040x}"),
        step(0, attempt=1),
        ended(status=RunStatus.FAILED, output=ERROR),
    )

    def ids(span: Span) -> list[str]:
        return [span.span_id, *(one for child in span.children for one in ids(child))]

    first = ids(tree(*rows))
    assert first == ids(tree(*rows))
    assert len(set(first)) == len(first)
