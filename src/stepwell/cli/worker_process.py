"""One process of `stepwell worker`: alone, or one of those that a supervisor looks after."""

from __future__ import annotations

import os
import signal
import socket as sockets
import sys
import threading
from typing import TYPE_CHECKING

import msgspec

from stepwell.cli.worker_target import load
from stepwell.connect import WorkerConnection, connect
from stepwell.errors import AuthError, ConfigError, StepwellError

if TYPE_CHECKING:
    from collections.abc import Sequence

CANNOT_START = 2
"""What a supervised process ends with when starting it again would be of no use."""


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says and a program may say too; None where it says nothing."""

    instance_id: str | None
    app_version: str | None
    max_worker_concurrency: int | None


def run_alone(
    targets: Sequence[str],
    imports: Sequence[str],
    overrides: Overrides,
    *,
    health_port: int | None,
    health_host: str | None,
) -> None:
    """Run until told to stop.

    Raises:
        StepwellError: The targets cannot be run, or what ended the connection.
    """
    connection = made(targets, imports, overrides)
    if health_port is not None:
        connection.serve_health(health_port, health_host)
    connection.run()


def run_supervised(
    targets: Sequence[str],
    imports: Sequence[str],
    overrides: Overrides,
    *,
    health_fd: int | None,
    lifeline_fd: int,
) -> None:
    """The same for a supervisor.

    Args:
        health_fd: A socket that listens, for health checks.
        lifeline_fd: The end of a pipe whose other end closes when the supervisor is gone; then
            this process stops as on SIGTERM.
    """
    threading.Thread(target=_outlived, args=(lifeline_fd,), daemon=True).start()
    try:
        connection = made(targets, imports, overrides)
        if health_fd is not None:
            connection.serve_health(sockets.socket(fileno=health_fd))
        connection.run()
    except (ConfigError, AuthError) as error:
        _say(error)
        sys.exit(CANNOT_START)


def made(targets: Sequence[str], imports: Sequence[str], overrides: Overrides) -> WorkerConnection:
    """The connection that the targets ask for.

    Raises:
        ConfigError: They cannot be run, or contradict the command line.
    """
    loaded = load(targets, imports)
    if isinstance(loaded, WorkerConnection):
        _check_made(loaded, overrides)
        return loaded
    if overrides.app_version is not None:
        for client, _ in loaded:
            client.settings = msgspec.structs.replace(
                client.settings, app_version=overrides.app_version
            )
    return connect(
        loaded,
        instance_id=overrides.instance_id,
        max_worker_concurrency=overrides.max_worker_concurrency,
    )


def _check_made(connection: WorkerConnection, overrides: Overrides) -> None:
    """A connection that the program made has read the command line unless it knows better."""
    for option, wanted, seen in (
        ("--instance-id", overrides.instance_id, connection.instance_id),
        (
            "--max-worker-concurrency",
            overrides.max_worker_concurrency,
            connection.max_worker_concurrency,
        ),
    ):
        if wanted is not None and wanted != seen:
            raise ConfigError(
                f"{option} is {wanted} (with --processes it has a number behind it), and the "
                f"program's own connect() says {seen}; leave it out there, or name a client "
                "in place of the connection"
            )
    if overrides.app_version is None:
        return
    for name, version in connection.app_versions.items():
        if version != overrides.app_version:
            raise ConfigError(
                f"--app-version is {overrides.app_version}, and the client of app {name!r} says "
                f"{version}; leave it out there"
            )


def _outlived(lifeline_fd: int) -> None:
    """Stop when the supervisor is gone, however it went."""
    while os.read(lifeline_fd, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _say(error: StepwellError) -> None:
    print(f"stepwell: {' '.join(error.message.split())} [{error.code}]", file=sys.stderr)
