"""The table of commands. A command's module is imported when that command is asked for."""

from __future__ import annotations

import importlib

import click

from stepwell.version import __version__


class LazyGroup(click.Group):
    """A group whose commands are the `command` of the modules that its table names."""

    def __init__(self, name: str, modules: dict[str, str | click.Command], help: str) -> None:
        super().__init__(
            name, help=help, no_args_is_help=True, context_settings={"help_option_names": _HELP}
        )
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self._modules.get(cmd_name)
        if found is None or isinstance(found, click.Command):
            return found
        command: click.Command = importlib.import_module(f"stepwell.cli.{found}").command
        return command


_HELP = ["-h", "--help"]

list_group = LazyGroup(
    "list",
    {
        "runs": "list_runs",
        "events": "list_events",
        "workers": "list_workers",
        "apps": "list_apps",
        "functions": "list_functions",
    },
    help="List what a server has: runs, events, workers, apps or functions.",
)

show_group = LazyGroup(
    "show",
    {"run": "show_run", "event": "show_event", "app": "show_app", "worker": "show_worker"},
    help="Show one thing in full.",
)

root = LazyGroup(
    "stepwell",
    {
        "dev": "dev",
        "start": "start",
        "demo": "demo",
        "worker": "worker",
        "send": "send",
        "list": list_group,
        "show": show_group,
        "route": "route",
        "version": "version",
    },
    help="""Durable functions made of steps: they survive crashes, deploys and long sleeps.

    See it work with `stepwell demo`; `stepwell COMMAND --help` has examples.
    """,
)
click.version_option(__version__, message="stepwell %(version)s")(root)
