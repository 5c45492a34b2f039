"""Lines on stderr for a program that has no logging; checked in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys
from stepwell.connect.stderr_log import shown_on_stderr

logger = logging.getLogger("stepwell.connect")
def show(before=lambda: None, inside=lambda: None):
    before()
    with shown_on_stderr():
        inside()
        logger.info("connected to %s", "here")
        logger.debug("detail")
"""

LINE = re.compile(r"^\d\d:\d\d:\d\d INFO    connected to here\n$")


def stderr_of(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + program],
        capture_output=True,
        text=True,
        timeout=15,
        check=True,
    )
    return done.stderr


def test_lines_show_when_nothing_is_configured() -> None:
    assert LINE.match(stderr_of("show()"))


@pytest.mark.parametrize(
    "configured",
    [
        'logging.basicConfig(format="root: %(message)s")',  # at WARNING: the line is not wanted
        'logging.getLogger("stepwell").addHandler(logging.NullHandler())',
        "logger.addHandler(logging.NullHandler())",
        'logging.getLogger("stepwell").setLevel(logging.WARNING)',
    ],
)
def test_what_the_program_configured_stands(configured: str) -> None:
    assert stderr_of(f"show(before=lambda: {configured})") == ""


def test_program_that_configures_logging_later_gets_each_line_once() -> None:
    later = 'logging.basicConfig(format="root: %(message)s", level=logging.INFO)'

    assert stderr_of(f"show(inside=lambda: {later})") == "root: connected to here\n"


def test_connections_share_the_lines_and_leave_nothing_behind() -> None:
    program = """
with shown_on_stderr():
    show()
    logger.info("the other one")
ours = logging.getLogger("stepwell")
assert (ours.handlers, ours.level) == ([], logging.NOTSET)
logger.info("nobody hears this")
"""
    first, second = stderr_of(program).splitlines(keepends=True)

    assert LINE.match(first)
    assert second.endswith("the other one\n")
