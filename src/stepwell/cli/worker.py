"""`stepwell worker`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from stepwell.cli.worker_process import Overrides


@click.command("worker", short_help="Run the functions of a module.")
@click.argument("targets", nargs=-1, required=True, metavar="MODULE:NAME...")
@click.option("--import", "imports", metavar="MODULE", multiple=True,
              help="Import this too, for the functions that it declares; repeatable.")  # fmt: skip
@click.option("--processes", metavar="N", type=click.IntRange(1, 256), default=1,
              help="How many processes; one that ends is started again. [default: 1]")  # fmt: skip
@click.option("--reload", is_flag=True,
              help="Start again when a .py file below the working directory changes.")  # fmt: skip
@click.option("--instance-id", metavar="ID",
              help="The worker's name; processes get `-1`, `-2`, ... behind it.")  # fmt: skip
@click.option("--app-version", metavar="VERSION", help="Which version of the program this is.")
@click.option("--max-worker-concurrency", metavar="N", type=click.IntRange(0),
              help="How many calls each process takes at a time; 0 is no limit.")  # fmt: skip
@click.option("--health-port", metavar="PORT", type=click.IntRange(0, 65_535),
              help="Answer /ready and /live there, for all processes together.")  # fmt: skip
@click.option("--health-host", metavar="HOST",
              help="The address of that port. [default: 127.0.0.1]")  # fmt: skip
@click.option("--health-fd", type=int, hidden=True,
              help="A socket that listens for health checks; the supervisor gives it.")  # fmt: skip
@click.option("--lifeline-fd", type=int, hidden=True,
              help="A pipe that ends with the supervisor.")  # fmt: skip
def command(
    targets: tuple[str, ...],
    imports: tuple[str, ...],
    processes: int,
    reload: bool,
    instance_id: str | None,
    app_version: str | None,
    max_worker_concurrency: int | None,
    health_port: int | None,
    health_host: str | None,
    health_fd: int | None,
    lifeline_fd: int | None,
) -> None:
    """Connect the functions of NAME in MODULE to the server, and run them until told to stop.

    NAME is a stepwell.Client, whose declared functions are taken; a connection made by connect();
    or a list of clients or of (client, functions). Several targets share one connection. Modules
    are looked for in the working directory first.

    SIGTERM and Ctrl-C let running calls finish; the second one ends them. Settings come from
    STEPWELL_<X>, then INNGEST_<X>.

    \b
    Examples:
      stepwell worker shop:client
      stepwell worker shop.app:client --reload
      stepwell worker shop:client mail:client --processes 4 --health-port 8080
    """
    overrides = _overrides(
        instance_id=instance_id,
        app_version=app_version,
        max_worker_concurrency=max_worker_concurrency,
    )
    if lifeline_fd is not None:
        from stepwell.cli.worker_process import run_supervised

        run_supervised(targets, imports, overrides, health_fd=health_fd, lifeline_fd=lifeline_fd)
    elif processes == 1 and not reload:
        from stepwell.cli.worker_process import run_alone

        run_alone(targets, imports, overrides, health_port=health_port, health_host=health_host)
    else:
        from stepwell.cli.worker_supervisor import supervise

        supervise(
            [*targets, *(word for module in imports for word in ("--import", module))],
            overrides,
            processes=processes,
            reload=reload,
            health_port=health_port,
            health_host=health_host,
        )


def _overrides(
    *, instance_id: str | None, app_version: str | None, max_worker_concurrency: int | None
) -> Overrides:
    """What the command line says, where modules that are imported read it too."""
    from stepwell.cli.worker_process import Overrides

    for name, value in (
        ("STEPWELL_INSTANCE_ID", instance_id),
        ("STEPWELL_APP_VERSION", app_version),
        ("STEPWELL_CONNECT_MAX_WORKER_CONCURRENCY", max_worker_concurrency),
    ):
        if value is not None:
            os.environ[name] = str(value)
    return Overrides(
        instance_id=instance_id,
        app_version=app_version,
        max_worker_concurrency=max_worker_concurrency,
    )
