"""The entry of the `stepwell` program: runs a command and turns every failure into one line.

Exit codes: 0 done; 1 the command failed; 2 it was not given as it must be; 130 Ctrl-C.
"""

from __future__ import annotations

import difflib
import errno
import os
import sys
from typing import TYPE_CHECKING

from stepwell.errors import StepwellError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    import click

FAILED = 1
USAGE = 2
INTERRUPTED = 130

_NO_OUTPUT = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


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
        _say("the command line is part of the server; in the clone of Stepwell, install it with "
             "`pip install '.[server]'`")  # fmt: skip
        return FAILED
    from stepwell.cli.root import root

    color = False if os.environ.get("NO_COLOR") else None
    if sys.stdout is None:  # closed before we began
        sys.stdout = _refusing_output()
    try:
        code = root.main(argv, prog_name="stepwell", standalone_mode=False, color=color)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _leave_output()
        return FAILED
    except OSError as error:
        if error.errno not in _NO_OUTPUT or error.filename is not None:
            raise
        _leave_output()
        _say(f"cannot write to standard output: {error.strerror}")
        return FAILED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.UsageError as error:
        message = _usage_text(error).rstrip(".")
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


def _usage_text(error: click.UsageError) -> str:
    """Click's own text, but of options that do not exist: it would propose hidden ones."""
    from click import NoSuchOption, Option

    if not isinstance(error, NoSuchOption) or error.ctx is None:
        return error.format_message()
    names = [
        name
        for parameter in error.ctx.command.params
        if isinstance(parameter, Option) and not parameter.hidden
        for name in parameter.opts
    ]
    close = difflib.get_close_matches(error.option_name, names)
    return f"{error.message} Did you mean {' or '.join(close)}?" if close else error.message


def _refusing_output() -> TextIO:
    """A standard output that fails when something is written, and not before: servers write none.

    It also takes the place of the closed descriptor, which else the next socket would get.
    """
    return os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")


def _leave_output() -> None:
    """Give Python's own flush at exit somewhere to write: our output takes no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
