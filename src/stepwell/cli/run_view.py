"""How `stepwell show run` tells of a run: in lines for people, or one JSON object a line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import click

from stepwell.cli.event_runs import full_name
from stepwell.cli.stacks import stack_lines
from stepwell.cli.text import (
    COLORS,
    cancellation_text,
    duration,
    error_stack,
    error_text,
    json_text,
    local_time,
    parse_time_ms,
    plain,
    print_json_line,
    shortened,
    waiting_text,
)
from stepwell.cli.trace import ENDED, progress

if TYPE_CHECKING:
    from stepwell.cli.screen import Screen
    from stepwell.cli.trace import Commit

AWAY = "The server is away; the run goes on when it is back."


class RunView(Protocol):
    """Is told of a run, in this order: its head, what happens, its end."""

    def head(self, run: dict[str, Any], event: dict[str, Any] | None) -> None: ...

    def commit(self, commit: Commit) -> None:
        """Something was stored."""
        ...

    def waiting(self, waiting: dict[str, Any]) -> None:
        """The run has been waiting for this for a while; told once."""
        ...

    def now(self, root: dict[str, Any], waiting: dict[str, Any] | None) -> None:
        """What goes on, at each look."""
        ...

    def away(self) -> None:
        """The server does not answer; told once for each time."""
        ...

    def foot(self, run: dict[str, Any], output: Any) -> None: ...


class JsonView:
    """One object a line: `run`, commits, `waiting`, and `run` once more at the end."""

    def head(self, run: dict[str, Any], event: dict[str, Any] | None) -> None:
        print_json_line({"run": run, "event": event})

    def commit(self, commit: Commit) -> None:
        print_json_line(commit)

    def waiting(self, waiting: dict[str, Any]) -> None:
        print_json_line({"waiting": waiting})

    def now(self, root: dict[str, Any], waiting: dict[str, Any] | None) -> None:
        """Nothing: a line is for what has happened."""

    def away(self) -> None:
        click.echo(AWAY, err=True)

    def foot(self, run: dict[str, Any], output: Any) -> None:
        print_json_line({"run": run})


class LineView:
    """Lines on a screen.

    Args:
        whole_stacks: Show stacks whole, and not the frames nearest to the error.
        full: Show data and outputs whole, however long.
    """

    def __init__(self, screen: Screen, *, whole_stacks: bool, full: bool) -> None:
        self._screen = screen
        self._whole_stacks = whole_stacks
        self._full = full
        self._since_ms = 0
        self._stack = ""

    def head(self, run: dict[str, Any], event: dict[str, Any] | None) -> None:
        self._since_ms = parse_time_ms(run.get("queuedAt")) or 0
        trigger = run.get("trigger", {})
        ids = " ".join(trigger.get("eventIds", []))
        say = self._screen.line
        say(f"run       {run['id']}")
        say(f"function  {full_name(run)}")
        if run.get("function", {}).get("isArchived"):
            say("          no worker registers it any more; events do not start it")
        say(f"event     {plain(trigger.get('eventName'))}  {ids}".rstrip())
        if event is not None:
            say(f"data      {shortened(json_text(event.get('data')), full=self._full)}")
        say(f"queued    {local_time(run.get('queuedAt'))}")

    def commit(self, commit: Commit) -> None:
        self._screen.line(commit.line(self._since_ms), color=COLORS.get(commit.status))
        self._show_stack(commit.stack)

    def waiting(self, waiting: dict[str, Any]) -> None:
        if not self._screen.has_status:
            self._screen.line(f"waits     {waiting_text(waiting, _now_ms())}")

    def now(self, root: dict[str, Any], waiting: dict[str, Any] | None) -> None:
        self._screen.status(progress(root, _now_ms(), waiting))

    def away(self) -> None:
        self._screen.note(AWAY)

    def foot(self, run: dict[str, Any], output: Any) -> None:
        self._screen.status("")
        status = run.get("status", "")
        took = f" in {duration(run.get('durationMs', 0))}" if run.get("endedAt") else ""
        say = self._screen.line
        say(f"{status.lower()}{took}", color=COLORS.get(status))
        waiting = run.get("waiting")
        if waiting and status not in ENDED:
            say(f"waits     {waiting_text(waiting, _now_ms())}")
        if cancellation := run.get("cancellation"):
            say(f"reason    {cancellation_text(cancellation)}")
        if status == "FAILED":
            say(f"error     {shortened(error_text(output), full=self._full)}")
            self._show_stack(error_stack(output))
        elif output is not None:
            say(f"result    {shortened(json_text(output), full=self._full)}")

    def _show_stack(self, stack: str) -> None:
        """Unless it is the one just shown: attempts mostly fail alike."""
        if not stack or stack == self._stack:
            return
        self._stack = stack
        for line in stack_lines(stack, whole=self._whole_stacks):
            self._screen.line(f"          {line}".rstrip())


def _now_ms() -> int:
    return round(time.time() * 1000)
