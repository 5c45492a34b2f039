"""`stepwell demo`: a server, a worker and one run of a durable function, watched as it commits."""

from __future__ import annotations

import click


@click.command("demo", short_help="Watch a durable function run; takes seconds.")
def command() -> int:
    """See a durable function run: a few seconds, no set-up, nothing left behind.

    Starts a server on free ports with its data in a temporary directory, and a worker in a process
    of its own; sends one event; prints each step as the server commits it, among them a sleep and
    a step that fails once and is tried again.

    \b
    Example:
      stepwell demo
    """
    from stepwell.cli.demo_run import run_demo

    return run_demo()
