"""What went between the server and an app, call by call, whatever carried it."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from tests.compat.api import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

APP = "scenarios"
"""The id of the app that every language has."""

UNTARGETED = "step"
"""The step of a call that is for no step in particular."""

FIRST_S = 20.0
"""How long a call may take that follows from what has happened."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the app answered; over Connect the status is the one that HTTP would have."""

    status: int
    body: Any
    version: int | None
    no_retry: bool
    at_s: float

    @property
    def ops(self) -> list[dict[str, Any]]:
        """The operations it reports."""
        if self.status != 206:
            return []
        return self.body if isinstance(self.body, list) else [self.body]

    def op_names(self) -> list[str]:
        """The kinds of operations, in order."""
        return [op["op"] for op in self.ops]


class Call(msgspec.Struct, kw_only=True):
    """One call of a function. `at_s` is on the clock of `time.monotonic`."""

    run_id: str
    function: str
    step: str
    body: dict[str, Any]
    at_s: float
    reply: Reply | None = None

    @property
    def context(self) -> dict[str, Any]:
        """The `ctx` of its body."""
        context: dict[str, Any] = self.body["ctx"]
        return context

    @property
    def answer(self) -> Reply:
        """The reply, which must have come."""
        assert self.reply is not None, f"no reply to {self}"
        return self.reply


class Recording:
    """All calls so far; safe to use from several threads."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._lock = threading.Lock()

    def begin(self, *, run_id: str, slug: str, step: str, body: bytes) -> Call:
        """A call that is on its way to the app."""
        call = Call(
            run_id=run_id,
            function=slug.removeprefix(f"{APP}-"),
            step=step or UNTARGETED,
            body=msgspec.json.decode(body),
            at_s=time.monotonic(),
        )
        with self._lock:
            self._calls.append(call)
        return call

    def of(self, run_id: str) -> list[Call]:
        """A run's calls in order."""
        with self._lock:
            return [call for call in self._calls if call.run_id == run_id]

    def first(
        self, function: str, matches: Callable[[Call], bool], *, timeout_s: float = FIRST_S
    ) -> Call:
        """Wait for a call of a function that matches."""

        def look() -> Call | None:
            with self._lock:
                calls = [call for call in self._calls if call.function == function]
            return next((call for call in calls if matches(call)), None)

        return wait_for(look, f"such a call of {function}", timeout_s=timeout_s)

    def count(self, function: str, matches: Callable[[Call], bool]) -> int:
        """How many calls of a function match so far."""
        with self._lock:
            calls = [call for call in self._calls if call.function == function]
        return sum(1 for call in calls if matches(call))


def reply_from(
    *, status: int, body: bytes, version: int | None = None, no_retry: bool = False
) -> Reply:
    """A reply from its bytes; what is not JSON stays text."""
    value: Any
    try:
        value = msgspec.json.decode(body) if body else None
    except msgspec.DecodeError:
        value = body.decode(errors="replace")
    return Reply(
        status=status, body=value, version=version, no_retry=no_retry, at_s=time.monotonic()
    )


def step_hash(name: str) -> str:
    """The id on the wire of a step that is called `name`."""
    return hashlib.sha1(name.encode()).hexdigest()
