"""`stepwell start`."""

from __future__ import annotations

from typing import Any

import click

from stepwell.cli.server_options import setting_options


@click.command("start", short_help="A server for production, with keys.")
@setting_options("start")
def command(**flags: Any) -> None:
    """Run a server for production: keys are required, and every request needs one.

    Every option can also be given as STEPWELL_<OPTION>, as INNGEST_<OPTION>, or in stepwell.toml;
    keys are better given there than on the command line, which other users of the machine see.

    \b
    Examples:
      stepwell start --signing-key "$(openssl rand -hex 32)" --event-key "$(openssl rand -hex 16)"
      STEPWELL_SIGNING_KEY=... STEPWELL_EVENT_KEY=... stepwell start --data-dir /var/lib/stepwell
    """
    from stepwell.cli.serving import serve
    from stepwell.server.setting_sources import resolve

    serve(resolve("start", flags))
