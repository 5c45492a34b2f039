"""`stepwell version`."""

from __future__ import annotations

import platform

import click

from stepwell.cli.text import print_json
from stepwell.version import __version__


@click.command("version", short_help="Print the version.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Print the version of this program.

    \b
    Examples:
      stepwell version
      stepwell version --json
    """
    if as_json:
        print_json({"version": __version__, "python": platform.python_version()})
    else:
        click.echo(f"stepwell {__version__}")
