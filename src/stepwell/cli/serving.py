"""Runs the server until a signal: the first one drains it, a second one ends it at once."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

import uvloop

from stepwell.errors import ConfigError
from stepwell.server.app import Server
from stepwell.server.logging import setup_logging
from stepwell.server.open_files import make_room
from stepwell.version import __version__

if TYPE_CHECKING:
    from stepwell.server.settings import Settings

READY = "ready"
"""The message of the one log record that says where the server listens. Programs wait for it."""

_log = logging.getLogger("stepwell.server")


def serve(settings: Settings) -> None:
    """Run a server in this process; return when it has stopped.

    Raises:
        ConfigError: It cannot start as asked.
    """
    require_assertions()
    as_json = settings.log_json or not sys.stderr.isatty()
    setup_logging(as_json, settings.log_level)
    for source in settings.ignored:
        _log.debug("this setting changes nothing here", extra={"setting": source})
    settings = make_room(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, as_json=as_json))


def require_assertions() -> None:
    """Refuse to run a server under `python -O`: assertions are how it notices that it is broken.

    Raises:
        ConfigError: `assertions_off`.
    """
    if not __debug__:
        raise ConfigError(
            "the server does not run under `python -O`: its assertions guard your data",
            code="assertions_off",
        )


async def _serve(settings: Settings, *, as_json: bool) -> None:
    stopping = asyncio.Event()

    def on_signal(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        _log.info(
            "stopping: workers have up to %g s to leave; a second signal ends the server at once",
            settings.connect_drain_wait_ms / 1000,
        )
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    async with Server(settings) as server:
        _announce(server, settings, as_json=as_json)
        await stopping.wait()
        await server.stop(drain=True)
    _log.info("stopped")


def _announce(server: Server, settings: Settings, *, as_json: bool) -> None:
    """Say where the server is and what to type next."""
    data = "in memory" if settings.in_memory else str(settings.data_dir.absolute())
    if as_json:
        _log.info(
            READY,
            extra={
                "version": __version__,
                "mode": settings.mode,
                "api_url": server.api_url,
                "gateway_url": server.gateway_url,
                "data_dir": None if settings.in_memory else data,
            },
        )
        return
    lines = (
        "",
        f"  Stepwell {__version__}, {_MODES[settings.mode]}",
        "",
        f"  API      {server.api_url}",
        f"  Gateway  {server.gateway_url}",
        f"  Data     {data}",
        "",
        *(f"  {line}" for line in _next_commands(server, settings)),
        "",
    )
    print("\n".join(lines), file=sys.stderr, flush=True)


_MODES = {"dev": "development server", "start": "production server"}


def _next_commands(server: Server, settings: Settings) -> tuple[str, ...]:
    local = server.api_url.replace("//0.0.0.0:", "//127.0.0.1:")
    if settings.mode == "start":
        url = "" if local.endswith(":8288") else f" --url {local}"
        return (f"Next     STEPWELL_SIGNING_KEY=... stepwell list workers{url}",)
    here = "" if local.endswith(":8288") else f"STEPWELL_DEV={local} "
    return (
        f"Next     {here}python examples/hello.py",
        f"then     {here}stepwell send user.created '{{\"user_id\": 7}}'",
    )
