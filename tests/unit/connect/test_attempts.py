"""What a reconnection policy makes of failed attempts."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.connect import ReconnectPolicy
from stepwell.connect.attempts import Attempts
from stepwell.connect.http import ServerUnreachable
from stepwell.errors import ConfigError, StepwellError

if TYPE_CHECKING:
    from stepwell.connect.reconnect import OnError

GONE = ServerUnreachable("cannot reach http://127.0.0.1:1: refused")


def test_attempts_have_no_end_by_default() -> None:
    attempts = Attempts(ReconnectPolicy())

    for _ in range(1_000):
        attempts.failed(GONE)


def test_last_attempt_gives_up() -> None:
    attempts = Attempts(ReconnectPolicy(attempts=3))
    attempts.failed(GONE)
    attempts.failed(GONE)

    with pytest.raises(StepwellError, match=r"3 attempts in a row.*cannot reach") as caught:
        attempts.failed(GONE)

    assert caught.value.code == "reconnect_given_up"
    assert caught.value.__cause__ is GONE


def test_success_starts_the_count_again() -> None:
    attempts = Attempts(ReconnectPolicy(attempts=2))
    for _ in range(10):
        attempts.failed(GONE)
        attempts.succeeded()


def test_hook_hears_of_each_failure_that_is_tried_again() -> None:
    heard: list[tuple[StepwellError, int]] = []
    attempts = Attempts(
        ReconnectPolicy(attempts=3, on_error=lambda error, number: heard.append((error, number)))
    )
    attempts.failed(GONE)
    attempts.succeeded()
    attempts.failed(GONE)
    attempts.failed(GONE)
    with pytest.raises(StepwellError):
        attempts.failed(GONE)

    assert heard == [(GONE, 1), (GONE, 1), (GONE, 2)]


def test_hook_can_stop_by_what_it_returns() -> None:
    attempts = Attempts(ReconnectPolicy(on_error=lambda _error, number: number < 2))
    attempts.failed(GONE)

    with pytest.raises(StepwellError) as caught:
        attempts.failed(GONE)

    assert caught.value.code == "reconnect_given_up"


def test_hook_can_stop_by_what_it_raises() -> None:
    def stop(_error: StepwellError, _number: int) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Attempts(ReconnectPolicy(on_error=stop)).failed(GONE)


def test_each_reason_is_a_warning_once_until_a_success(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "stepwell.connect")
    attempts = Attempts(ReconnectPolicy())
    for _ in range(3):
        attempts.failed(GONE)
    attempts.succeeded()
    attempts.failed(GONE)

    assert [record.getMessage() for record in caplog.records] == [f"{GONE}; trying again"] * 2


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"base": 0}, "base is 0"),
        ({"base": 1.5}, "timedelta"),
        ({"base": True}, "timedelta"),
        ({"cap": 100}, "cap 100"),
        ({"cap": timedelta(milliseconds=10)}, "cap 10"),
        ({"jitter": "some"}, "jitter is 'some'"),
        ({"jitter": 1.5}, "jitter is 1.5"),
        ({"jitter": True}, "jitter is True"),
        ({"attempts": 0}, "attempts is 0"),
        ({"attempts": "many"}, "attempts is 'many'"),
        ({"on_error": "log"}, "on_error is 'log'"),
    ],
)
def test_policy_that_cannot_be_is_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        ReconnectPolicy(**options)


def test_hook_may_take_and_return_what_it_likes() -> None:
    def hook(error: StepwellError, number: int) -> str:
        return f"{error} {number}"

    typed: OnError = hook
    Attempts(ReconnectPolicy(on_error=typed)).failed(GONE)
