"""`stepwell show run`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from stepwell.cli.api import NotFound, Unreachable
from stepwell.cli.run_view import JsonView, LineView
from stepwell.cli.screen import open_screen
from stepwell.cli.target import talks_to_server
from stepwell.cli.text import print_json
from stepwell.cli.trace import ENDED, TraceFollower

if TYPE_CHECKING:
    from stepwell.cli.api import Api
    from stepwell.cli.run_view import RunView

POLL_S = 0.1
POLL_SLOW_S = 1.0  # For a run in which nothing has happened for a while: it may sleep for a year.
SLOW_AFTER_S = 30.0
WAITING_TOLD_AFTER_S = 1.0  # Between two steps every run waits for a moment; that is no news.
GONE_S = 60.0  # How long a server may be away (a restart, a deploy) before watching gives up.


@click.command("run")
@click.argument("run_id", metavar="ID")
@click.option("--watch", is_flag=True, help="Go on until the run ends, printing steps as the "
              "server commits them. Exit code 0 if it completed, else 1.")  # fmt: skip
@click.option("--stack", "--verbose", "whole_stacks", is_flag=True,
              help="Show the stacks of errors whole, not their last frames.")  # fmt: skip
@click.option("--full", is_flag=True, help="Show data and results whole, however long.")
@click.option("--json", "as_json", is_flag=True,
              help="Print JSON; with --watch, one object a line.")  # fmt: skip
@talks_to_server
def command(
    api: Api, run_id: str, watch: bool, whole_stacks: bool, full: bool, as_json: bool
) -> int:
    """Show a run: its function, its event, its steps with their timings, its result.

    \b
    Examples:
      stepwell show run 01K6ZB1YV2M3N4P5Q6R7S8T9V0
      stepwell show run 01K6ZB1YV2M3N4P5Q6R7S8T9V0 --watch
      stepwell show run 01K6ZB1YV2M3N4P5Q6R7S8T9V0 --stack
    """
    path = f"/v2/runs/{quote(run_id, safe='')}"
    run = _read_run(api, path)
    event = _read_event(api, run)
    if as_json and not watch:
        print_json({"run": run, "event": event, "trace": _read_root(api, path)})
        return 0
    with open_screen() as screen:
        view: RunView = (
            JsonView() if as_json else LineView(screen, whole_stacks=whole_stacks, full=full)
        )
        view.head(run, event)
        sys.stdout.flush()
        if watch:
            _follow(api, path, view)
        else:
            for commit in TraceFollower().commits(_read_root(api, path)):
                view.commit(commit)
        run = _read_run(api, path)
        view.foot(run, _read_output(api, run))
    return 1 if watch and run.get("status") != "COMPLETED" else 0


def _follow(api: Api, path: str, view: RunView) -> None:
    """Tell of commits until the run is over, through restarts of the server."""
    follower = TraceFollower()
    waits = _Waits()
    last_seen_s = last_news_s = time.monotonic()
    told = False
    while True:
        try:
            root = _read_root(api, path)
            news = follower.commits(root)
            ended = root.get("status") in ENDED
            # What it waits for is of interest only if nothing happens.
            waiting = None if news or ended else _read_run(api, path).get("waiting")
        except Unreachable:
            if time.monotonic() - last_seen_s > GONE_S:
                raise
            if not told:
                view.away()
                told = True
            time.sleep(POLL_SLOW_S)
            continue
        last_seen_s = time.monotonic()
        told = False
        for commit in news:
            view.commit(commit)
        long_awaited = waits.news(waiting, last_seen_s)
        if long_awaited is not None:
            view.waiting(long_awaited)
        if news:
            last_news_s = last_seen_s
        sys.stdout.flush()
        if ended:
            return
        view.now(root, waiting)
        time.sleep(POLL_SLOW_S if last_seen_s - last_news_s > SLOW_AFTER_S else POLL_S)


class _Waits:
    """Picks out what a run has been waiting for long enough to tell, once."""

    def __init__(self) -> None:
        self._waiting: dict[str, Any] | None = None
        self._since_s = 0.0
        self._told = False

    def news(self, waiting: dict[str, Any] | None, now_s: float) -> dict[str, Any] | None:
        if waiting != self._waiting:
            self._waiting, self._since_s, self._told = waiting, now_s, False
        if waiting is None or self._told or now_s - self._since_s < WAITING_TOLD_AFTER_S:
            return None
        self._told = True
        return waiting


def _read_run(api: Api, path: str) -> dict[str, Any]:
    run: dict[str, Any] = api.get(path, [("includeOutput", "true")])["data"]
    return run


def _read_event(api: Api, run: dict[str, Any]) -> dict[str, Any] | None:
    """The event that started the run; None if it is not stored any more."""
    ids = run.get("trigger", {}).get("eventIds", [])
    if not ids:
        return None
    try:
        event: dict[str, Any] = api.get(f"/v1/events/{quote(ids[0], safe='')}")["data"]
    except NotFound:
        return None
    return event


def _read_root(api: Api, path: str) -> dict[str, Any]:
    root: dict[str, Any] = api.get(path + "/trace", [("includeOutput", "true")])["data"]["rootSpan"]
    return root


def _read_output(api: Api, run: dict[str, Any]) -> Any:
    """The run's result or error as it is: v2 wraps what is no object."""
    if run.get("output") is None:
        return None
    return api.get(f"/v1/runs/{quote(run['id'], safe='')}")["data"].get("output")
