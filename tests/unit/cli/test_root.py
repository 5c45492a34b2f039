"""Every command: its help, its examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from stepwell.cli.root import root

if TYPE_CHECKING:
    from collections.abc import Iterator


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name)


COMMANDS = list(_commands(root))


def test_the_commands_are_these() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        "dev", "start", "demo", "send", "version", "show run", "show event", "show app",
        "show worker", "worker", "route",
        "list runs", "list events", "list workers", "list apps", "list functions",
    }  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_an_example_of_the_command(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert root.main([*path, "--help"], prog_name="stepwell", standalone_mode=False) == 0
    text = capsys.readouterr().out
    assert "Example" in text
    assert f"    stepwell {' '.join(path)}" in text


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_is_explained(path: tuple[str, ...]) -> None:
    command: click.Command | None = root
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    assert command is not None
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{path} {parameter.name}"


def test_an_unknown_command_is_not_imported() -> None:
    assert root.get_command(click.Context(root), "os") is None
