"""`stepwell.toml`, as commands that talk to a server read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.cli.settings_file import with_file
from stepwell.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_file_the_environment_stands(tmp_path: Path) -> None:
    assert with_file(None, {"STEPWELL_BASE_URL": "http://a"}, cwd=tmp_path) == {
        "STEPWELL_BASE_URL": "http://a"
    }


def test_the_file_is_found_from_a_folder_below_it(tmp_path: Path) -> None:
    (tmp_path / "stepwell.toml").write_text('base-url = "http://file:1"\nsigning_key = "abcd"\n')
    below = tmp_path / "deep" / "er"
    below.mkdir(parents=True)
    found = with_file(None, {}, cwd=below)
    assert found == {"INNGEST_BASE_URL": "http://file:1", "INNGEST_SIGNING_KEY": "abcd"}


def test_the_environment_wins_over_the_file_but_an_empty_variable_does_not(tmp_path: Path) -> None:
    (tmp_path / "stepwell.toml").write_text('base-url = "http://file:1"\nevent-key = "f"\n')
    found = with_file(None, {"INNGEST_BASE_URL": "http://env:1", "INNGEST_EVENT_KEY": ""},
                      cwd=tmp_path)  # fmt: skip
    assert found["INNGEST_BASE_URL"] == "http://env:1"
    assert found["INNGEST_EVENT_KEY"] == "f"


def test_the_servers_port_is_where_its_clients_go(tmp_path: Path) -> None:
    (tmp_path / "stepwell.toml").write_text("port = 9000\n")
    assert with_file(None, {}, cwd=tmp_path)["INNGEST_BASE_URL"] == "http://127.0.0.1:9000"


def test_the_servers_event_keys_serve_its_clients(tmp_path: Path) -> None:
    (tmp_path / "stepwell.toml").write_text('event-key = ["one", "two"]\nconnections-max = 5\n')
    assert with_file(None, {}, cwd=tmp_path) == {"INNGEST_EVENT_KEY": "one"}


@pytest.mark.parametrize("name", ["STEPWELL_CONFIG", "INNGEST_CONFIG"])
def test_a_variable_names_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "other.toml").write_text('base-url = "http://other"\n')
    assert with_file(None, {name: "other.toml"}, cwd=tmp_path)["INNGEST_BASE_URL"] == "http://other"


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"base-url = 7\n", "base-url must be a text"), (b"= 1\n", "not a TOML file"),
     (b"\xff\xfe", "not a TOML file")],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "stepwell.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=told) as caught:
        with_file(None, {}, cwd=tmp_path)
    assert "stepwell.toml" in caught.value.message


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml"):
        with_file("none.toml", {}, cwd=tmp_path)
