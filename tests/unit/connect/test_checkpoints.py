"""Reports that wait for their answers."""

from __future__ import annotations

import pytest

from stepwell.checkpointer import Answer
from stepwell.connect.checkpoints import Checkpoints
from stepwell.wire.connect import WorkerCheckpointData


def added(checkpoints: Checkpoints, answers: list[Answer], number: int = 0) -> bytes:
    return checkpoints.add("call", "run", number, b"[1]", answers.append).payload


def test_report_tells_its_call_run_and_number() -> None:
    data = WorkerCheckpointData.FromString(added(Checkpoints(), [], 7))

    assert (data.request_id, data.run_id, data.seq, data.steps) == ("call", "run", 7, b"[1]")


@pytest.mark.parametrize(
    ("refusal", "answer"),
    [
        ("", Answer.STORED),
        ("call_stale", Answer.STALE),
        ("run_not_found", Answer.STALE),
        ("run_state_too_large", Answer.FAILED),
        ("store_unavailable", Answer.FAILED),
    ],
)
def test_answer_is_told_once(refusal: str, answer: Answer) -> None:
    checkpoints, answers = Checkpoints(), list[Answer]()
    added(checkpoints, answers)
    for _ in range(2):
        checkpoints.answered("call", 0, refusal)

    assert answers == [answer]
    assert checkpoints.waiting_count == 0


def test_second_answer_to_what_was_sent_twice_is_not_taken_for_the_next_report_s() -> None:
    checkpoints, answers = Checkpoints(), list[Answer]()
    added(checkpoints, answers, 0)
    checkpoints.answered("call", 0, "")
    added(checkpoints, answers, 1)
    checkpoints.answered("call", 0, "call_stale")

    assert answers == [Answer.STORED]
    assert [report.number for report in checkpoints.waiting()] == [1]


def test_giving_up_fails_all_of_them() -> None:
    checkpoints, answers = Checkpoints(), list[Answer]()
    added(checkpoints, answers)
    checkpoints.give_up()
    checkpoints.answered("call", 0, "")

    assert (answers, checkpoints.waiting()) == ([Answer.FAILED], [])


def test_call_that_is_over_waits_for_nothing() -> None:
    checkpoints, answers = Checkpoints(), list[Answer]()
    added(checkpoints, answers)
    checkpoints.dropped("call")
    checkpoints.answered("call", 0, "")
    checkpoints.dropped("unknown")

    assert (answers, checkpoints.waiting_count) == ([], 0)
