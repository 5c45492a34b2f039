"""Stacks, whole and in part."""

from __future__ import annotations

from stepwell.cli.stacks import MORE, stack_lines


def frame(number: int) -> list[str]:
    return [f'  File "a.py", line {number}, in f{number}', f"    f{number + 1}()"]


def python(*numbers: int) -> list[str]:
    frames = [line for number in numbers for line in frame(number)]
    return ["Traceback (most recent call last):", *frames, "ValueError: no", "  in two lines"]


def test_the_frames_nearest_to_the_error_are_shown() -> None:
    stack = "\n".join(python(1, 2, 3, 4, 5)) + "\n"
    assert stack_lines(stack, whole=False) == [MORE, *frame(3), *frame(4), *frame(5)]
    assert stack_lines(stack, whole=True) == python(1, 2, 3, 4, 5)


def test_a_short_stack_is_shown_without_the_error_that_stands_above_it() -> None:
    assert stack_lines("\n".join(python(1, 2)), whole=False) == [*frame(1), *frame(2)]


def test_of_a_chain_the_last_error_counts() -> None:
    stack = "\n".join([*python(1), "", "The above was the cause of:", "", *python(7)])
    assert stack_lines(stack, whole=False) == [MORE, *frame(7)]


def test_marks_below_a_line_of_code_are_kept() -> None:
    lines = [*python(1)[:3], "    ~~^^", "ValueError: no"]
    assert stack_lines("\n".join(lines), whole=False)[-1] == "    ~~^^"


def test_other_stacks_are_shown_from_their_beginning() -> None:
    stack = ["Error: no", *(f"    at f{n} (a.js:{n})" for n in range(9))]
    assert stack_lines("\n".join(stack), whole=False) == [*stack[:6], MORE]
    assert stack_lines("\n".join(stack[:6]), whole=False) == stack[:6]


def test_a_stack_cannot_move_the_cursor() -> None:
    assert stack_lines("a\x1b[2J", whole=False) == ["a [2J"]
