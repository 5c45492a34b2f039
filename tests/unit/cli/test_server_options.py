"""The options of `dev` and `start` are the table of settings, no more and no less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from stepwell.cli import target
from stepwell.cli.root import root
from stepwell.server.setting_sources import resolve
from stepwell.server.settings import WITHOUT_MEANING, Mode, Settings, options

if TYPE_CHECKING:
    from pathlib import Path


def _command(mode: Mode) -> click.Command:
    command = root.get_command(click.Context(root), mode)
    assert command is not None
    return command


def _settings(mode: Mode, words: list[str], cwd: Path) -> Settings:
    ctx = _command(mode).make_context(mode, words)
    return resolve(mode, ctx.params, environ={}, cwd=cwd)


@pytest.mark.parametrize("mode", ["dev", "start"])
def test_every_flag_of_the_mode_is_there_and_no_other(mode: Mode) -> None:
    wanted = {
        flag
        for option in (*options().values(), *WITHOUT_MEANING)
        if mode in option.modes
        for flag in option.flags
    }
    given = {
        flag
        for parameter in _command(mode).params
        for flag in parameter.opts
        if flag.startswith("--")
    }
    assert given - {"--config"} == wanted


def test_flags_become_settings(tmp_path: Path) -> None:
    settings = _settings(
        "dev",
        ["-p", "0", "--sqlite-dir", "here", "--in-memory", "--retry-interval", "1.5", "--json"],
        tmp_path,
    )
    assert settings.port == 0
    assert settings.data_dir.name == "here"
    assert settings.in_memory
    assert settings.retry_interval_ms == 1_500
    assert settings.log_json


def test_the_invocations_of_the_official_suites_are_accepted(tmp_path: Path) -> None:
    words = "--no-discovery --no-poll --port 8288 --retry-interval 1 --tick 10"
    settings = _settings("dev", words.split(), tmp_path)
    assert settings.port == 8288
    assert (settings.no_discovery, settings.no_poll) == (True, True)
    assert set(settings.ignored) == {"--tick"}


def test_keys_are_repeatable_where_several_make_sense(tmp_path: Path) -> None:
    settings = _settings(
        "start",
        ["--signing-key", "aa", "--signing-key-fallback", "bb", "--event-key", "x",
         "--event-key", "y"],
        tmp_path,
    )  # fmt: skip
    assert settings.event_keys == ("x", "y")
    assert settings.signing_keys == ("aa", "bb")


def test_defaults_in_the_help_are_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    for mode, host in (("dev", "127.0.0.1"), ("start", "0.0.0.0")):
        root.main([mode, "--help"], prog_name="stepwell", standalone_mode=False)
        text = " ".join(capsys.readouterr().out.split())
        assert f"[default: {host}]" in text
        assert "[default: 8288]" in text
        assert "extending its lease. [default: 120]" in text
        assert "--tick" not in text


def test_one_file_serves_the_server_and_its_clients(tmp_path: Path) -> None:
    (tmp_path / "stepwell.toml").write_text('port = 9000\nbase-url = "https://example.com"\n')
    assert _settings("dev", [], tmp_path).port == 9000
    assert target.resolve(environ={}, cwd=tmp_path).api_base_url == "https://example.com"
