"""A run in memory, and what its live row keeps of it."""

from __future__ import annotations

import msgspec
import pytest

from stepwell.engine.rows import RunImage, RunStatus, StepRef
from stepwell.engine.state import Job, Phase, Run, RunState, Sleep
from stepwell.wire.ids import EventId, RequestId, RunId, ulid_bytes

RUN_ID = RunId(ulid_bytes(1_000, b"0123456789"))


def a_run(*waits: Job | Sleep) -> Run:
    state = RunState(
        jobs=[wait for wait in waits if isinstance(wait, Job)],
        sleeps=[wait for wait in waits if isinstance(wait, Sleep)],
    )
    return Run(
        run_id=RUN_ID,
        function_no=3,
        event_id=EventId(b"e" * 16),
        status=RunStatus.RUNNING,
        started_at_ms=1_001,
        state=state,
        stored=True,
    )


def queued(no: int = 0) -> Job:
    return Job(no=no)


def leased(no: int = 0) -> Job:
    return Job(no=no, phase=Phase.LEASED, request_id=RequestId(b"q" * 16), instance_id="w1")


def waiting(due_ms: int, no: int = 0) -> Job:
    return Job(no=no, phase=Phase.WAITING, due_ms=due_ms)


def sleep(due_ms: int) -> Sleep:
    return Sleep(step_id="s", name="s", started_ms=0, due_ms=due_ms)


@pytest.mark.parametrize(
    ("waits", "queued_score", "wake_at_ms"),
    [
        ([queued()], 1_000, None),
        ([leased()], None, 0),
        ([waiting(70)], None, 70),
        ([sleep(80)], None, 80),
        ([waiting(70), waiting(60, 1), sleep(80)], None, 60),
        ([queued(), sleep(80)], 1_000, 80),
        ([queued(), leased(1), sleep(80)], 1_000, 0),
    ],
)
def test_the_live_row_says_why_the_run_is_alive(
    waits: list[Job | Sleep], queued_score: int | None, wake_at_ms: int | None
) -> None:
    row = a_run(*waits).live_row()
    assert (row.queued_score, row.wake_at_ms) == (queued_score, wake_at_ms)


def test_a_run_without_a_job_or_a_wait_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError, match="a job or a wait"):
        a_run().live_row()


def test_a_run_built_from_its_rows_is_the_same() -> None:
    run = a_run(
        Job(
            no=7,
            step_id="x",
            current=2,
            attempt=3,
            losses=1,
            generation=5,
            phase=Phase.LEASED,
            due_ms=4,
            request_id=RequestId(b"q" * 16),
            instance_id="w1",
            sent_ms=99,
        ),
        sleep(80),
    )
    run.state.version = 2
    run.state.plan_only = run.state.quiet = run.state.again = True
    run.state.fruitless = 4
    run.state.next_job_no = 8
    run.state.pending = {"b": True, "a": False}
    row = run.live_row()
    again = Run.from_image(
        RunImage(
            run_id=row.run_id,
            function_no=row.function_no,
            event_id=run.event_id,
            status=run.status,
            started_at_ms=run.started_at_ms,
            queued_score=row.queued_score,
            wake_at_ms=row.wake_at_ms,
            state=row.state,
            steps=(StepRef("one", 10), StepRef("two", 5)),
            history_count=6,
        )
    )
    assert msgspec.to_builtins(again.state) == msgspec.to_builtins(run.state)
    assert list(again.state.pending) == ["b", "a"]
    assert again.steps == {"one": 10, "two": 5}
    assert again.state_bytes == 15
    assert again.history_count == 6
    assert again.queued_ms == run.queued_ms == 1_000
    assert again.live_row() == row


def test_new_fields_at_the_end_do_not_disturb_older_rows() -> None:
    class Later(RunState, array_like=True):
        more: int = 5

    older = msgspec.msgpack.encode(RunState(version=2, jobs=[queued()]))
    assert msgspec.msgpack.decode(older, type=Later).more == 5


@pytest.mark.parametrize(
    ("waits", "idle_until"),
    [
        ([queued()], None),
        ([leased()], None),
        ([sleep(80), leased()], None),
        ([sleep(80), queued()], None),
        ([sleep(80)], 80),
        ([sleep(80), waiting(70)], 70),
    ],
)
def test_a_run_is_idle_if_it_waits_for_times_only(
    waits: list[Job | Sleep], idle_until: int | None
) -> None:
    assert a_run(*waits).is_idle_until() == idle_until


@pytest.mark.parametrize(
    ("waits", "may"),
    [
        ([queued()], True),
        ([queued(), queued(1)], True),
        ([leased()], False),
        ([queued(), leased(1)], False),
        ([queued(), sleep(101)], True),
        ([queued(), sleep(100)], False),
        ([queued(), waiting(101)], True),
        ([queued(), waiting(100)], False),
    ],
)
def test_memory_can_do_without_a_run_whose_windows_bring_it_back(
    waits: list[Job | Sleep], may: bool
) -> None:
    assert a_run(*waits).may_leave(horizon_ms=100) is may
