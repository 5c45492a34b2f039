"""`stepwell show run`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import msgspec

from stepwell.cli.api import Unreachable
from stepwell.cli.screen import open_screen
from stepwell.cli.target import talks_to_server
from stepwell.cli.text import (
    COLORS,
    duration,
    error_text,
    local_time,
    parse_time_ms,
    plain,
    print_json,
    print_json_line,
)
from stepwell.cli.trace import ENDED, Commit, TraceFollower, progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.cli.api import Api
    from stepwell.cli.screen import Screen

POLL_S = 0.1
POLL_SLOW_S = 1.0  # For a run in which nothing has happened for a while: it may sleep for a year.
SLOW_AFTER_S = 30.0
GONE_S = 60.0  # How long a server may be away (a restart, a deploy) before watching gives up.


@click.command("run")
@click.argument("run_id", metavar="ID")
@click.option("--watch", is_flag=True, help="Go on until the run ends, printing steps as the "
              "server commits them. Exit code 0 if it completed, else 1.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True,
              help="Print JSON; with --watch, one object a line.")  # fmt: skip
@talks_to_server
def command(api: Api, run_id: str, watch: bool, as_json: bool) -> int:
    """Show a run: its function, its steps with their timings, its result.

    \b
    Examples:
      stepwell show run 01K6ZB1YV2M3N4P5Q6R7S8T9V0
      stepwell show run 01K6ZB1YV2M3N4P5Q6R7S8T9V0 --watch
    """
    path = f"/v2/runs/{quote(run_id, safe='')}"
    run = _read_run(api, path)
    if as_json and not watch:
        print_json({"run": run, "trace": _read_root(api, path)})
        return 0
    follower = TraceFollower()
    since_ms = parse_time_ms(run.get("queuedAt")) or 0
    with open_screen() as screen:
        show: Callable[[Commit], None] = _print_commit_json
        if not as_json:
            _head(screen, run)

            def show(commit: Commit) -> None:
                screen.line(commit.line(since_ms), color=COLORS.get(commit.status))

        if watch:
            _follow(api, path, follower, screen, show, quiet=as_json)
        else:
            for commit in follower.commits(_read_root(api, path)):
                show(commit)
        run = _read_run(api, path)
        if as_json:
            print_json_line({"run": run})
        else:
            screen.status("")
            _foot(screen, run, _read_output(api, run))
    return 1 if watch and run.get("status") != "COMPLETED" else 0


def _follow(
    api: Api,
    path: str,
    follower: TraceFollower,
    screen: Screen,
    show: Callable[[Commit], None],
    *,
    quiet: bool,
) -> None:
    """Show commits until the run is over, through restarts of the server."""
    last_seen_s = last_news_s = time.monotonic()
    told = False
    while True:
        try:
            root = _read_root(api, path)
        except Unreachable:
            if time.monotonic() - last_seen_s > GONE_S:
                raise
            if not told:
                click.echo("The server is away; the run goes on when it is back.", err=True)
                told = True
            time.sleep(POLL_SLOW_S)
            continue
        last_seen_s = time.monotonic()
        told = False
        news = follower.commits(root)
        for commit in news:
            show(commit)
        if news:
            last_news_s = last_seen_s
            sys.stdout.flush()
        if root.get("status") in ENDED:
            return
        if not quiet:
            screen.status(progress(root, round(time.time() * 1000)))
        time.sleep(POLL_SLOW_S if last_seen_s - last_news_s > SLOW_AFTER_S else POLL_S)


def _read_run(api: Api, path: str) -> dict[str, Any]:
    run: dict[str, Any] = api.get(path, [("includeOutput", "true")])["data"]
    return run


def _read_root(api: Api, path: str) -> dict[str, Any]:
    root: dict[str, Any] = api.get(path + "/trace", [("includeOutput", "true")])["data"]["rootSpan"]
    return root


def _read_output(api: Api, run: dict[str, Any]) -> Any:
    """The run's result or error as it is: v2 wraps what is no object."""
    if run.get("output") is None:
        return None
    return api.get(f"/v1/runs/{quote(run['id'], safe='')}")["data"].get("output")


def _print_commit_json(commit: Commit) -> None:
    print_json_line(commit)


def _head(screen: Screen, run: dict[str, Any]) -> None:
    function = run.get("function", {})
    screen.line(f"run       {run['id']}")
    screen.line(f"function  {run.get('app', {}).get('id', '?')}/{function.get('slug', '?')}")
    screen.line(f"event     {plain(run.get('trigger', {}).get('eventName'))}")
    screen.line(f"queued    {local_time(run.get('queuedAt'))}")


def _foot(screen: Screen, run: dict[str, Any], output: Any) -> None:
    status = run.get("status", "")
    took = f" in {duration(run.get('durationMs', 0))}" if run.get("endedAt") else ""
    screen.line(f"{status.lower()}{took}", color=COLORS.get(status))
    if status == "FAILED":
        screen.line(f"error     {error_text(output)}")
    elif output is not None:
        screen.line(f"result    {msgspec.json.encode(output).decode()}")
