"""`stepwell dev`."""

from __future__ import annotations

from typing import Any

import click

from stepwell.cli.server_options import setting_options


@click.command("dev", short_help="A server for development, without keys.")
@setting_options("dev")
def command(**flags: Any) -> None:
    """Run a server for development: no keys, this machine only, data kept in .stepwell/.

    Every option can also be given as STEPWELL_<OPTION>, as INNGEST_<OPTION>, or in stepwell.toml.

    \b
    Examples:
      stepwell dev
      stepwell dev --port 9000 --in-memory
      stepwell dev --retry-interval 1
    """
    from stepwell.cli.serving import serve
    from stepwell.server.setting_sources import resolve

    serve(resolve("dev", flags))
