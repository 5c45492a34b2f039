"""Which server, which keys: the order of the places that may say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.cli.target import resolve
from stepwell.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_said_means_the_local_server(tmp_path: Path) -> None:
    settings = resolve(environ={}, cwd=tmp_path)
    assert settings.api_base_url == settings.event_api_base_url == "http://127.0.0.1:8288"
    assert settings.signing_keys == ()


def test_a_key_alone_still_means_the_local_server(tmp_path: Path) -> None:
    settings = resolve(signing_key="abcd", environ={}, cwd=tmp_path)
    assert settings.api_base_url == "http://127.0.0.1:8288"
    assert settings.signing_keys == ("abcd",)


def test_flag_then_our_variable_then_theirs_then_the_file(tmp_path: Path) -> None:
    (tmp_path / "stepwell.toml").write_text('base-url = "http://file"\n')
    environ = {"INNGEST_BASE_URL": "http://theirs"}
    assert resolve(environ={}, cwd=tmp_path).api_base_url == "http://file"
    assert resolve(environ=environ, cwd=tmp_path).api_base_url == "http://theirs"
    environ["STEPWELL_BASE_URL"] = "http://ours"
    assert resolve(environ=environ, cwd=tmp_path).api_base_url == "http://ours"
    settings = resolve(url="http://flag/", environ=environ, cwd=tmp_path)
    assert settings.api_base_url == settings.event_api_base_url == "http://flag"


def test_the_switch_of_the_sdk_may_name_the_server(tmp_path: Path) -> None:
    settings = resolve(environ={"STEPWELL_DEV": "http://127.0.0.1:9999"}, cwd=tmp_path)
    assert settings.api_base_url == "http://127.0.0.1:9999"


def test_one_of_the_servers_event_keys_is_taken(tmp_path: Path) -> None:
    assert resolve(environ={"STEPWELL_EVENT_KEY": "one,two"}, cwd=tmp_path).event_key == "one"


def test_a_url_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(url="localhost:8288", environ={}, cwd=tmp_path)
    assert caught.value.code == "url_invalid"
