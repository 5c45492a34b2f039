"""The entry of the `stepwell` program: runs a command and turns every failure into one line.

Exit codes: 0 done; 1 the command failed; 2 it was not given as it must be; 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from stepwell.errors import StepwellError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

FAILED = 1
USAGE = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Its words, without the program's name; those of this process if None.
    Returns:
        The exit code.
    """
    try:
        import click
    except ModuleNotFoundError:
        _say("the command line is part of the server; install it with `pip install "
             "'stepwell[server]'`")  # fmt: skip
        return FAILED
    from stepwell.cli.root import root

    color = False if os.environ.get("NO_COLOR") else None
    try:
        code = root.main(argv, prog_name="stepwell", standalone_mode=False, color=color)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _leave_pipe()
        return FAILED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.UsageError as error:
        message = error.format_message().rstrip(".")
        _say(f"{message} (see `{_path(error.ctx)} --help`)")
        return USAGE
    except click.ClickException as error:
        _say(error.format_message())
        return FAILED
    except StepwellError as error:
        _say(f"{error.message} [{error.code}]")
        return FAILED
    return code if isinstance(code, int) else 0


def _say(text: str) -> None:
    print("stepwell: " + " ".join(text.split()), file=sys.stderr)


def _path(ctx: click.Context | None) -> str:
    return ctx.command_path if ctx is not None else "stepwell"


def _leave_pipe() -> None:
    """Give Python's own flush at exit somewhere to write: the reader of our output is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
