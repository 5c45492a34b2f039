"""Errors as they leave the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.errors import ConfigError, NonRetriableError, StepError, StepwellError
from stepwell.outcome import UNTOLD, error_outcome, is_final, stack_text
from tests.unit.calls import call_async, call_sync, error_of

if TYPE_CHECKING:
    from stepwell.context import ContextSync


def deep(levels: int) -> None:
    if levels == 0:
        raise ValueError("x" * 100_000)
    deep(levels - 1)


def test_error_of_a_step_keeps_its_name_and_stack() -> None:
    outcome = error_outcome(StepError("m", "CardError", "line 1"))

    assert msgspec.json.decode(outcome.body) == {
        "code": "step_errored",
        "message": "m",
        "name": "CardError",
        "stack": "line 1",
    }
    assert outcome.no_retry


def test_retry_can_be_decided_by_the_caller() -> None:
    assert not error_outcome(ConfigError("m"), no_retry=False).no_retry
    assert error_outcome(ValueError("m"), no_retry=True).no_retry


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (ValueError(), False),
        (StepwellError("m"), False),
        (NonRetriableError("m"), True),
        (StepError("m"), True),
        (ConfigError("m"), True),
        (StepwellError("m", code="output_too_large"), True),
        (StepwellError("m", code="output_invalid"), False),
    ],
)
def test_what_is_final(error: BaseException, final: bool) -> None:
    assert is_final(error) is final


def test_stack_is_bounded() -> None:
    with pytest.raises(ValueError) as caught:
        deep(3)

    text = stack_text(caught.value)
    assert len(text) < 40_000
    assert "in deep" in text


def test_cause_is_part_of_the_stack() -> None:
    error = NonRetriableError("outer", cause=KeyError("inner"))

    assert "KeyError: 'inner'" in stack_text(error)


def test_message_is_bounded_and_fits_into_utf8() -> None:
    outcome = error_outcome(ValueError("\udcff" + "x" * 9_000_000))

    assert len(outcome.body) < 200_000
    error = msgspec.json.decode(outcome.body)
    assert error["message"].startswith("?xxx")


def test_name_and_stack_of_a_step_are_bounded_and_fit_into_utf8() -> None:
    error = StepError("m", "Bad\udcff" + "n" * 100_000, "line \udcff" + "s" * 100_000)

    outcome = error_outcome(error)

    assert len(outcome.body) < 200_000
    assert msgspec.json.decode(outcome.body)["name"].startswith("Bad?n")
    assert msgspec.json.decode(outcome.body)["stack"].startswith("line ?s")


@pytest.mark.parametrize("why", [RuntimeError("no"), SystemExit(3)])
def test_error_whose_text_cannot_be_had_is_told_by_its_name(why: BaseException) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise why

        __repr__ = __str__

    error = msgspec.json.decode(error_outcome(Unspeakable()).body)

    assert error["name"] == "Unspeakable"
    assert type(why).__name__ in error["message"]


def test_outcome_of_last_resort_is_an_error_that_is_retried() -> None:
    assert UNTOLD.kind == "error"
    assert not UNTOLD.no_retry
    assert msgspec.json.decode(UNTOLD.body)["code"] == "internal_error"


# --- the lines of the program ---


def misuse(ctx: Any) -> None:
    ctx.step.sleep("later", "1h")  # the line to be seen


async def misuse_async(ctx: Any) -> None:
    await ctx.step.sleep("later", "1h")  # the line to be seen


def test_stack_of_a_mistake_ends_with_the_line_that_made_it() -> None:
    for outcome in (call_sync(misuse), call_async(misuse_async)):
        stack = error_of(outcome)["stack"]

        assert "# the line to be seen" in stack.rpartition('File "')[2]
        assert "stepwell/step" not in stack


def test_stack_of_another_error_is_whole() -> None:
    def handler(ctx: ContextSync) -> None:
        ctx.group.parallel((lambda: [][1],))

    assert "IndexError" in error_of(call_sync(handler))["stack"]
    assert "stepwell/group.py" in error_of(call_sync(handler))["stack"]


def test_cause_that_is_all_ours_is_left_out() -> None:
    stack = error_of(call_sync(lambda _ctx: object()))["stack"]

    assert "cannot be written as JSON" in stack
    assert "File" not in stack


def test_cause_in_the_program_stays() -> None:
    class Model:
        def model_dump(self, **_options: object) -> None:
            raise ValueError("hidden field")

    stack = error_of(call_sync(lambda _ctx: Model()))["stack"]

    assert "in model_dump" in stack
