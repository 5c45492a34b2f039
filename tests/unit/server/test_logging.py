"""One line a record, for machines or for people."""

from __future__ import annotations

import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.server.logging import setup_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The test process logs as it did before."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    others = {name: logging.getLogger(name).level for name in ("asyncio", "uvicorn.error")}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, other_level in others.items():
        logging.getLogger(name).setLevel(other_level)
    logging.getLogger("uvicorn.access").disabled = False
    logging.captureWarnings(False)


def logged(*, json: bool, level: str = "info", **extra: Any) -> str:
    stream = io.StringIO()
    setup_logging(json, level, stream)
    log = logging.getLogger("stepwell.server.test")
    log.debug("too quiet")
    log.info("hello %s", "you", extra=extra)
    return stream.getvalue()


def test_a_machine_gets_one_object_a_line() -> None:
    line = logged(json=True, run="01J", count=2, odd=object)
    assert line.count("\n") == 1
    record = msgspec.json.decode(line)
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "info",
        "logger": "stepwell.server.test",
        "message": "hello you",
        "run": "01J",
        "count": 2,
        "odd": "<class 'object'>",
    }


def test_line_breaks_of_peers_make_no_line_of_their_own() -> None:
    assert logged(json=True, reason="a\nFAKE").count("\n") == 1


def test_people_get_a_line_with_what_belongs_to_it() -> None:
    line = logged(json=False, run="01J")
    assert "INFO    server.test  hello you  run=01J" in line


def test_levels() -> None:
    assert "too quiet" in logged(json=False, level="debug")
    assert logged(json=False, level="warning") == ""


@pytest.mark.parametrize("json", [True, False])
def test_a_traceback_is_in_the_record(json: bool) -> None:
    stream = io.StringIO()
    setup_logging(json, "info", stream)
    try:
        raise ValueError("the cause")
    except ValueError:
        logging.getLogger("stepwell").exception("failed")
    text = stream.getvalue()
    assert "ValueError: the cause" in text
    if json:
        assert "Traceback" in msgspec.json.decode(text)["error"]


def test_warnings_are_logged_and_other_libraries_are_quiet() -> None:
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        setup_logging(True, "info", stream)
        warnings.warn("old", stacklevel=1)
    logging.getLogger("uvicorn.error").info("chatter")
    logging.getLogger("uvicorn.access").error("chatter")
    assert "old" in stream.getvalue()
    assert "chatter" not in stream.getvalue()


# Clears the screen, begins lines, turns the text around, and is half of a pair.
SPITE = "a\x1b[2J\r\nFAKE\x9b\x7f\u2028\u202e\U000e0041b \\"
HALF = "\ud800"


@pytest.mark.parametrize("spite", [SPITE, SPITE + HALF])
@pytest.mark.parametrize("json", [True, False])
def test_what_peers_say_cannot_touch_a_terminal(json: bool, spite: str) -> None:
    stream = io.StringIO()
    setup_logging(json, "info", stream)
    log = logging.getLogger("stepwell")
    log.info("refused: %s", spite, extra={"reason": spite, "listed": [spite]})
    try:
        raise ValueError(spite)
    except ValueError:
        log.exception("failed")
    text = stream.getvalue()
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert not any(line.startswith("FAKE") for line in text.splitlines())
    assert "\\u202e" in text
    if json:
        first, second = (msgspec.json.decode(line) for line in text.splitlines())
        said = spite.replace(HALF, "?")
        assert (first["reason"], first["listed"]) == (said, [said])
        assert second["error"].endswith(f"ValueError: {said}")
    else:
        assert text.count("refused: ") == 1
        assert "ValueError: a\\x1b[2J" in text


def test_letters_of_all_languages_are_left_alone() -> None:
    for json in (True, False):
        assert "größe 大きさ" in logged(json=json, app="größe 大きさ")
