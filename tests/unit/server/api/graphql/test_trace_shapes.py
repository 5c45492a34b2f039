"""The same tree under the names of suites with and without `preview`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.rows import HistoryKind, RunStatus, StepKind
from stepwell.server.api.graphql.trace_shapes import newer, older
from stepwell.server.api.timeline import build_tree
from stepwell.store.memory import MemoryStore
from tests.unit.server.api.rows import (
    SHOP,
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
    from stepwell.server.api.graphql.trace_shapes import Shown
    from stepwell.server.api.timeline import Span

ERROR = b'{"name":"E","message":"m"}'
STEP = f"{0:040x}"
WAIT = b'{"event":"shop/paid","until":"2026-09-21T14:14:20.000Z"}'


def tree(*rows: Write) -> Span:
    store = MemoryStore()
    store.commit([*SHOP, put_event(), put_run(), *rows])
    reader = store.reader()
    run = reader.run(run_id(1))
    assert run is not None
    return build_tree(run, reader.steps(run.run_id), reader.history(run.run_id))


def old(*rows: Write) -> Shown:
    return older(tree(*rows), "shop-ship")


def shape(shown: Shown) -> list[tuple[str, str, int]]:
    return [(child.name, child.status, child.attempts) for child in shown.children]


def failure(seq: int, step_id: str = "step", attempt: int = 0, name: str | None = None) -> Write:
    return history(
        seq,
        HistoryKind.ATTEMPT_FAILED,
        step_id=step_id,
        attempt=attempt,
        name=name,
        payload=ERROR,
    )


def test_a_one_step_run_has_two_children() -> None:  # server 29
    root = old(running(), step(), ended())
    assert (root.name, root.status, root.parent_id) == ("shop-ship", "COMPLETED", None)
    assert shape(root) == [("charge", "COMPLETED", 0), ("function success", "COMPLETED", 0)]
    charge, last = root.children
    assert (charge.step_op, charge.children) == ("RUN", ())
    assert (last.step_op, last.output_of) == (None, root.output_of)
    assert {charge.parent_id, last.parent_id} == {root.span.span_id}
    assert root.output_of == root.span.span_id


def test_a_step_that_failed_twice_shows_three_attempts() -> None:  # server 30
    rows = (failure(0, STEP, 0, "charge"), failure(1, STEP, 1))
    root = old(running(), *rows, step(attempt=2), ended())
    assert shape(root)[0] == ("charge", "COMPLETED", 2)
    charge = root.children[0]
    assert shape(charge) == [
        ("Attempt 0", "FAILED", 0),
        ("Attempt 1", "FAILED", 1),
        ("Attempt 2", "COMPLETED", 2),
    ]
    assert {child.parent_id for child in charge.children} == {root.span.span_id}
    assert all(child.output_of for child in charge.children)


def test_a_step_that_failed_for_good_counts_its_attempts() -> None:
    rows = (failure(0, STEP, 0, "charge"), step(kind=StepKind.FAILED, data=ERROR, attempt=1))
    root = old(running(), *rows, ended(status=RunStatus.FAILED, output=ERROR))
    assert shape(root) == [("charge", "FAILED", 2), ("function error", "FAILED", 1)]


def test_a_function_that_failed_at_once_is_an_error() -> None:  # server 30
    root = old(running(), ended(status=RunStatus.FAILED, output=ERROR))
    assert shape(root) == [("function error", "FAILED", 1)]
    assert shape(root.children[0]) == [("Attempt 0", "FAILED", 0)]


def test_a_function_that_is_tried_again_is_called_execute() -> None:  # server 30
    root = old(running(), failure(0))
    assert (root.status, root.output_of) == ("RUNNING", None)
    assert shape(root) == [("execute", "RUNNING", 0)]
    (execute,) = root.children
    assert (execute.output_of, execute.step_op) == (None, None)
    assert shape(execute) == [("Attempt 0", "FAILED", 0), ("Attempt 1", "QUEUED", 0)]
    assert execute.children[1].span.span_id == "queued"
    over = old(running(), failure(0), ended(status=RunStatus.FAILED, output=ERROR))
    assert shape(over) == [("execute", "FAILED", 2)]
    assert shape(over.children[0]) == [("Attempt 0", "FAILED", 0), ("Attempt 1", "FAILED", 1)]


def test_a_function_that_was_retried_and_succeeded() -> None:
    root = old(running(), step(), failure(0), ended())
    assert shape(root) == [("charge", "COMPLETED", 0), ("function success", "COMPLETED", 1)]
    assert shape(root.children[1]) == [("Attempt 0", "FAILED", 0), ("Attempt 1", "COMPLETED", 1)]


def test_what_comes_next_is_queued() -> None:
    root = old(running(), step())
    assert shape(root) == [("charge", "COMPLETED", 0), ("Queued step", "QUEUED", 0)]
    assert root.children[1].span.span_id == "queued"
    waiting = history(0, HistoryKind.WAIT_STARTED, step_id=STEP, name="await", payload=WAIT)
    assert shape(old(running(), waiting)) == [("await", "WAITING", 0)]
    assert shape(old(running())) == []


def test_the_last_attempt_of_a_wait_has_its_op() -> None:
    waiting = history(1, HistoryKind.WAIT_STARTED, step_id=STEP, name="await", payload=WAIT)
    (shown,) = old(running(), failure(0), waiting).children
    assert (shown.name, shown.status, shown.attempts) == ("await", "WAITING", 0)
    assert [child.step_op for child in shown.children][-1] == "WAIT_FOR_EVENT"


def test_a_cancelled_run_has_nothing_queued() -> None:
    root = old(running(), step(), failure(0), ended(status=RunStatus.CANCELLED, output=b""))
    assert shape(root) == [("charge", "COMPLETED", 0), ("execute", "CANCELLED", 0)]
    assert shape(root.children[1]) == [("Attempt 0", "FAILED", 0)]
    assert root.output_of is None


def test_preview_calls_the_root_run_and_the_end_finalization() -> None:  # server 29
    root = newer(tree(running(), step(), failure(0), ended()))
    assert root.name == "Run"
    assert shape(root) == [("charge", "COMPLETED", 0), ("Finalization", "COMPLETED", 1)]
    charge, last = root.children
    assert (charge.step_type, last.step_type) == ("RUN", "FINALIZATION")
    assert (last.output_of, last.step_op) == (None, None)
    assert [child.parent_id for child in last.children] == [last.span.span_id] * 2
    assert all(child.output_of for child in last.children)


def test_preview_adds_nothing_that_is_not_there_yet() -> None:
    assert shape(newer(tree(running(), step()))) == [("charge", "COMPLETED", 0)]
