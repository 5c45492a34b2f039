"""Columns, times, errors."""

from __future__ import annotations

import pytest

from stepwell.cli import text


@pytest.mark.parametrize(
    ("ms", "shown"),
    [(None, ""), (0, "0 ms"), ("999", "999 ms"), (1_000, "1.0 s"), (59_949, "59.9 s"),
     (60_000, "1 min 0 s"), (125_000, "2 min 5 s"), (7_200_000, "120 min 0 s")],
)  # fmt: skip
def test_durations(ms: int | str | None, shown: str) -> None:
    assert text.duration(ms) == shown


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    text.print_columns(("A", "LONGER"), [("wide cell", 1), (None, "FAILED")], empty="none")
    assert capsys.readouterr().out == (
        "A          LONGER\n"
        "wide cell  1\n"
        "           FAILED\n"
    )  # fmt: skip


def test_no_rows_say_so_outside_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    text.print_columns(("A",), [], empty="Nothing yet.")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Nothing yet.\n")


def test_values_cannot_move_the_cursor_of_a_terminal() -> None:
    assert text.plain("a\x1b[2Jb\nc") == "a [2Jb c"


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ({"name": "ValueError", "message": "bad\nvalue"}, "ValueError: bad value"),
        ({"error": {"name": "ValueError", "message": "inner"}}, "ValueError: inner"),
        ({"message": "only this"}, "only this"),
        ({"name": "E", "message": "m", "code": "http_unreachable"}, "E: m [http_unreachable]"),
        ({"name": "E", "message": "m", "code": "unknown"}, "E: m"),
        ({"name": "E", "message": "m", "code": 7}, "E: m"),
        ("a text", "a text"),
        (None, ""),
    ],
)
def test_errors_on_one_line(output: object, shown: str) -> None:
    assert text.error_text(output) == shown


def test_stacks_of_errors() -> None:
    assert text.error_stack({"error": {"stack": "a"}}) == "a"
    assert text.error_stack({"stack": "b"}) == "b"
    for without in ({"stack": 7}, {}, "text", None):
        assert text.error_stack(without) == ""


def test_a_long_text_is_shortened_unless_it_is_wanted_in_full() -> None:
    long = "x" * (text.SHORT_CHARS + 1)
    assert text.shortened(long[1:], full=False) == long[1:]
    assert text.shortened(long, full=True) == long
    shown = text.shortened(long, full=False)
    assert shown == f"{long[1:]} ... (2,049 characters; --full shows all)"


def test_what_is_waited_for_has_a_countdown_if_it_ends_by_itself() -> None:
    waiting = {"reason": "retry", "until": "1970-01-01T00:00:10.000Z", "text": "attempt 1 comes"}
    assert text.waiting_text(waiting, 7_500) == "attempt 1 comes, 2.5 s to go"
    assert text.waiting_text(waiting, 99_000) == "attempt 1 comes, 0 ms to go"
    assert text.waiting_text({"reason": "no_worker", "text": "nobody\x1b"}, 1) == "nobody "


def test_times_are_milliseconds() -> None:
    assert text.parse_time_ms("1970-01-01T00:00:01.234Z") == 1_234
    assert text.parse_time_ms(None) is None
    assert text.parse_time_ms("") is None
