"""The entry: exit codes, and one line for every failure."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.cli.main import main
from stepwell.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.cli.conftest import Ran


def test_success_is_exit_code_zero(run: Callable[..., Ran]) -> None:
    ran = run("version")
    assert (ran.code, ran.out, ran.err) == (0, f"stepwell {__version__}\n", "")


@pytest.mark.parametrize(
    "words",
    [("nonsense",), ("send",), ("list", "runs", "--status", "odd"), ("send", "a", "not json"),
     ("list", "runs", "--limit", "0"), ("show", "run")],
)  # fmt: skip
def test_wrong_usage_is_exit_code_two_and_one_line(
    run: Callable[..., Ran], words: tuple[str, ...]
) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("stepwell: ")
    assert ran.err.count("\n") == 1
    assert "--help`" in ran.err


def test_a_failed_command_is_exit_code_one_and_one_line_with_its_code(
    run: Callable[..., Ran], tmp_path: Any
) -> None:
    (tmp_path / "stepwell.toml").write_text("base-url = [")
    ran = run("list", "apps")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "stepwell.toml is not a TOML file" in ran.err
    assert "[config_invalid]" in ran.err


def test_a_server_that_is_not_there_is_named_with_the_way_to_start_one(
    run: Callable[..., Ran],
) -> None:
    ran = run("list", "runs", "--url", "http://127.0.0.1:9")
    assert ran.code == 1
    assert "http://127.0.0.1:9" in ran.err
    assert "`stepwell dev`" in ran.err
    assert "[server_unreachable]" in ran.err


@pytest.mark.parametrize("words", [(), ("list",), ("show",)])
def test_a_group_alone_shows_its_help(run: Callable[..., Ran], words: tuple[str, ...]) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert "Commands:" in ran.err


def test_the_sdk_alone_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without_click(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "click":
            raise ModuleNotFoundError("No module named 'click'", name="click")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_click)
    assert main(["version"]) == 1
    assert (
        "in the clone of Stepwell, install it with `pip install '.[server]'`"
        in capsys.readouterr().err
    )


def test_a_reader_that_left_its_pipe_is_no_news() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "stepwell.cli", "--help"],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 1


def run_with_output(command: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run in a shell, for its redirections."""
    return subprocess.run(
        f"'{sys.executable}' -m stepwell.cli {command}",
        shell=True,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [("> /dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
@pytest.mark.parametrize("words", ["version --json", "--help"])
def test_an_output_that_takes_nothing_is_one_line(
    tmp_path: Path, words: str, redirection: str, reason: str
) -> None:
    done = run_with_output(f"{words} {redirection}", tmp_path)
    assert done.stderr == f"stepwell: cannot write to standard output: {reason}\n"
    assert done.returncode == 1


def test_a_command_that_writes_nothing_needs_no_output(tmp_path: Path) -> None:
    done = run_with_output("list runs --url http://127.0.0.1:9 >&-", tmp_path)
    assert done.stderr.startswith("stepwell: cannot reach a server")


@pytest.mark.parametrize(
    ("word", "proposed"), [("--prot", "Did you mean --port"), ("--qqq", ""), ("--queue-worker", "")]
)
def test_only_options_that_help_shows_are_proposed(
    run: Callable[..., Ran], word: str, proposed: str
) -> None:
    ran = run("dev", word)
    assert ran.code == 2
    assert f"No such option '{word}'" in ran.err or f"No such option: {word}" in ran.err
    assert proposed in ran.err
    assert ("Did you mean" in ran.err) == bool(proposed)


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Ran]) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("stepwell.cli.api.Api.get", interrupted)
    ran = run("list", "runs")
    assert ran.code == 130
    assert ran.err.strip() == ""
