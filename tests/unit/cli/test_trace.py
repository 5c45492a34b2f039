"""What a watcher of a run is told, from one look at its trace to the next."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.cli.trace import TraceFollower, progress


def at(ms: int) -> str:
    return f"1970-01-01T00:00:{ms // 1000:02d}.{ms % 1000:03d}Z"


def step(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "stepId": f"hash-{name}", "stepOp": "RUN",
            "status": "COMPLETED"} | fields  # fmt: skip


def attempt(number: int, ms: int, message: str = "no") -> dict[str, Any]:
    return {"id": f"a{number}", "name": f"Attempt {number}", "status": "FAILED",
            "endedAt": at(ms), "output": {"name": "ValueError", "message": message}}  # fmt: skip


def root(*children: dict[str, Any], status: str = "RUNNING") -> dict[str, Any]:
    return {"status": status, "children": list(children)}


def lines(follower: TraceFollower, *children: dict[str, Any]) -> list[str]:
    return [" ".join(commit.line(0).split()) for commit in follower.commits(root(*children))]


@pytest.mark.parametrize(
    ("info", "shown"),
    [
        ({"kind": "event", "event": "paid", "if": "async.data.n == 1"},
         "wait w completed 3.0 s paid if async.data.n == 1"),
        ({"kind": "event", "event": "paid", "timedOut": True},
         "wait w timed out no event came in 3.0 s paid"),
        ({"kind": "signal", "signal": "go"}, "signal w completed 3.0 s go"),
        ({"kind": "signal", "signal": "go", "timedOut": True},
         "signal w timed out no signal came in 3.0 s go"),
        ({"kind": "invoke", "function": "shop-price", "runId": "01CHILD"},
         "invoke w completed 3.0 s shop-price run 01CHILD"),
        ({"kind": "fetch"}, "fetch w completed 3.0 s"),
        ({"kind": "ai"}, "ai w completed 3.0 s"),
        ({"kind": "new"}, "step w completed 3.0 s"),
    ],
)  # fmt: skip
def test_a_step_that_waited_says_for_what(info: dict[str, Any], shown: str) -> None:
    waited = step("w", endedAt=at(3_000), durationMs="3000", stepInfo=info)
    assert lines(TraceFollower(), waited) == [f"+ 3.000 s {shown}"]


def test_a_step_is_told_once_when_it_has_ended() -> None:
    follower = TraceFollower()
    waiting = step("a", status="QUEUED")
    assert lines(follower, waiting) == []
    done = step("a", startedAt=at(10), endedAt=at(22), durationMs="12")
    assert lines(follower, done) == ["+ 0.022 s step a completed 12 ms"]
    assert lines(follower, done) == []


def test_commits_come_in_the_order_of_their_times() -> None:
    told = lines(TraceFollower(), step("late", endedAt=at(30)), step("early", endedAt=at(20)))
    assert [line.split()[4] for line in told] == ["early", "late"]


def test_a_failed_attempt_is_told_before_the_step_and_once() -> None:
    follower = TraceFollower()
    failed = attempt(0, 50)
    assert lines(follower, step("a", status="QUEUED", children=[failed])) == [
        "+ 0.050 s attempt a failed attempt 0: ValueError: no"
    ]
    second = {"id": "a1", "name": "Attempt 1", "status": "COMPLETED", "endedAt": at(90)}
    assert lines(
        follower, step("a", endedAt=at(90), durationMs="3", children=[failed, second])
    ) == ["+ 0.090 s step a completed 3 ms (attempt 1)"]


def test_a_failed_attempt_of_the_body_that_moves_to_a_step_is_told_once() -> None:
    follower = TraceFollower()
    execution = {"id": "function", "name": "Execution", "status": "QUEUED",
                 "children": [attempt(0, 50)]}  # fmt: skip
    assert lines(follower, execution) == [
        "+ 0.050 s attempt (function) failed attempt 0: ValueError: no"
    ]
    moved = attempt(0, 50) | {"id": "another"}
    second = {"id": "a1", "name": "Attempt 1", "status": "COMPLETED", "endedAt": at(90)}
    assert lines(follower, step("a", endedAt=at(90), children=[moved, second])) == [
        "+ 0.090 s step a completed (attempt 1)"
    ]


def test_the_last_attempt_of_a_failed_step_is_the_steps_own_line() -> None:
    failed = step("a", status="FAILED", endedAt=at(90), durationMs="4",
                  output={"error": {"name": "ValueError", "message": "for good"}},
                  children=[attempt(0, 50), attempt(1, 90, "for good")])  # fmt: skip
    assert lines(TraceFollower(), failed) == [
        "+ 0.050 s attempt a failed attempt 0: ValueError: no",
        "+ 0.090 s step a failed 4 ms (attempt 1) ValueError: for good",
    ]


def test_two_steps_that_fail_alike_in_one_millisecond_are_both_told() -> None:
    told = lines(
        TraceFollower(),
        step("a", status="QUEUED", children=[attempt(0, 50)]),
        step("b", status="QUEUED", children=[attempt(0, 50)]),
    )
    assert [line.split()[4] for line in told] == ["a", "b"]


LOST = {"id": "x", "name": "Lost call", "status": "FAILED", "endedAt": at(70)}


def test_a_lost_call_is_told_and_is_no_attempt() -> None:
    follower = TraceFollower()
    assert lines(follower, step("a", status="QUEUED", children=[LOST])) == [
        "+ 0.070 s lost a lost its worker went away; the same attempt goes to another"
    ]
    first = {"id": "a0", "name": "Attempt 0", "status": "COMPLETED", "endedAt": at(90)}
    assert lines(follower, step("a", endedAt=at(90), durationMs="3", children=[LOST, first])) == [
        "+ 0.090 s step a completed 3 ms"
    ]


def test_commits_have_the_stacks_of_their_errors() -> None:
    retried = attempt(0, 50)
    retried["output"]["stack"] = "first"
    final = {"error": {"name": "E", "message": "m", "stack": "second"}}
    failed = step("a", status="FAILED", endedAt=at(90), output=final,
                  children=[retried, attempt(1, 90)])  # fmt: skip
    stacks = [commit.stack for commit in TraceFollower().commits(root(failed))]
    assert stacks == ["first", "second"]


def test_the_functions_own_end_is_no_step() -> None:
    final = {"id": "f", "name": "Finalization", "status": "COMPLETED", "endedAt": at(99)}
    assert lines(TraceFollower(), final) == []


def test_progress_says_what_is_waited_for() -> None:
    sleeping = step("nap", stepOp="SLEEP", status="WAITING", sleepUntil=at(5_000))
    retried = step("pay", status="QUEUED", children=[attempt(0, 50)])
    assert progress(root(status="QUEUED"), 0) == "queued"
    assert progress(root(step("done", endedAt=at(1))), 0) == "running"
    assert progress(root(sleeping, retried), 2_000) == (
        "nap sleeps, 3.0 s to go; pay failed and is tried again"
    )


def test_progress_counts_down_to_the_next_attempt_and_says_why_nothing_goes_on() -> None:
    retry = {"reason": "retry", "until": at(5_000), "text": "attempt 1 comes next"}
    retried = step("pay", status="QUEUED", children=[attempt(0, 50)])
    assert progress(root(retried), 2_000, retry) == (
        "pay failed and is tried again; attempt 1 comes next, 3.0 s to go"
    )
    assert progress(root(), 9_000, retry) == "attempt 1 comes next, 0 ms to go"
    nobody = {"reason": "no_worker", "text": "no connected worker has shop-ship"}
    assert progress(root(status="QUEUED"), 0, nobody) == nobody["text"]
    asleep = {"reason": "sleep", "until": at(5_000), "text": "it sleeps in nap"}
    sleeping = step("nap", stepOp="SLEEP", status="WAITING", sleepUntil=at(5_000))
    assert progress(root(sleeping), 2_000, asleep) == "nap sleeps, 3.0 s to go"
