"""Which source of a setting wins, and what is said when none can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stepwell.errors import ConfigError
from stepwell.server.setting_sources import resolve

if TYPE_CHECKING:
    from pathlib import Path

KEY = "ab" * 32
KEYS: dict[str, Any] = {"signing_key": KEY, "event_key": ("k",)}


def refusal(mode: Any, flags: dict[str, Any], **more: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        resolve(mode, flags, **({"environ": {}} | more))
    return caught.value


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    dev = resolve("dev", {}, environ={}, cwd=tmp_path)
    assert (dev.host, dev.port, dev.sources, dev.ignored) == ("127.0.0.1", 8288, {}, ())
    start = resolve("start", KEYS, environ={}, cwd=tmp_path)
    assert start.host == "0.0.0.0"
    assert start.port == 8288


def test_flag_beats_variable_beats_the_other_variable_beats_file(tmp_path: Path) -> None:
    (tmp_path / "stepwell.toml").write_text('port = 1\nhost = "h"')
    ours, theirs = {"STEPWELL_PORT": "3"}, {"INNGEST_PORT": "2"}

    def port(flags: dict[str, Any], environ: dict[str, str]) -> tuple[int, str]:
        settings = resolve("dev", flags, environ=environ, cwd=tmp_path)
        assert settings.host == "h"
        return settings.port, settings.sources["port"]

    assert port({"port": "4"}, ours | theirs) == (4, "--port")
    assert port({}, ours | theirs) == (3, "STEPWELL_PORT")
    assert port({}, theirs) == (2, "INNGEST_PORT")
    assert port({}, {}) == (1, f"port in {tmp_path / 'stepwell.toml'}")


def test_a_variable_set_to_nothing_is_not_set() -> None:
    assert resolve("dev", {}, environ={"STEPWELL_PORT": ""}).port == 8288


def test_kubernetes_service_variables_are_not_ours() -> None:
    assert resolve("dev", {}, environ={"STEPWELL_PORT": "tcp://10.0.0.1:8288"}).port == 8288


def test_aliases_work_everywhere(tmp_path: Path) -> None:
    for flags, environ in (
        ({"data_dir": "d"}, {}),
        ({}, {"STEPWELL_SQLITE_DIR": "d"}),
        ({}, {"INNGEST_SQLITE_DIR": "d"}),
    ):
        assert str(resolve("dev", flags, environ=environ, cwd=tmp_path).data_dir) == "d"
    (tmp_path / "stepwell.toml").write_text('sqlite-dir = "d"')
    assert str(resolve("dev", {}, environ={}, cwd=tmp_path).data_dir) == "d"
    assert resolve("dev", {}, environ={"LOG_LEVEL": "debug"}, cwd=tmp_path).log_level == "debug"


def test_lists_come_repeated_separated_or_as_arrays(tmp_path: Path) -> None:
    def keys(flags: dict[str, Any], environ: dict[str, str]) -> tuple[str, ...]:
        given = {"signing_key": KEY} | flags
        return resolve("start", given, environ=environ, cwd=tmp_path).event_keys

    assert keys({"event_key": ("a", "b", "a")}, {}) == ("a", "b")
    assert keys({}, {"INNGEST_EVENT_KEY": "a, b"}) == ("a", "b")
    assert keys({"event_key": ("c",)}, {"INNGEST_EVENT_KEY": "a,b"}) == ("c",)
    (tmp_path / "stepwell.toml").write_text('event-key = ["x", "y"]')
    assert keys({}, {}) == ("x", "y")
    (tmp_path / "stepwell.toml").write_text('event_key = "x"')
    assert keys({}, {}) == ("x",)


def test_switches() -> None:
    assert resolve("dev", {"in_memory": True}, environ={}).in_memory
    assert not resolve("dev", {"in_memory": False}, environ={}).in_memory
    assert resolve("dev", {}, environ={"STEPWELL_IN_MEMORY": "1"}).in_memory
    off = resolve("dev", {}, environ={"STEPWELL_IN_MEMORY": "false"})
    assert not off.in_memory
    assert off.is_given("in_memory")


def test_seconds_become_milliseconds() -> None:
    given = resolve("dev", {"connect_lease": "0.5", "retry_interval": "1"}, environ={})
    assert (given.connect_lease_ms, given.retry_interval_ms) == (500, 1_000)
    assert resolve("dev", {"retry_interval": "0"}, environ={}).retry_interval_ms is None


def test_what_has_no_meaning_is_remembered_and_no_error() -> None:
    given = resolve(
        "dev",
        {"no_ui": True, "tick": "10", "redis_uri": "redis://a"},
        environ={"INNGEST_QUEUE_WORKERS": "5"},
    )
    assert set(given.ignored) == {"--no-ui", "--tick", "--redis-uri", "INNGEST_QUEUE_WORKERS"}


def test_a_setting_of_the_other_mode_is_ignored() -> None:
    dev = resolve("dev", {}, environ={"INNGEST_SIGNING_KEY": KEY, "STEPWELL_EVENT_KEY": "k"})
    assert (dev.signing_keys, dev.event_keys) == ((), ())
    assert set(dev.ignored) == {"INNGEST_SIGNING_KEY", "STEPWELL_EVENT_KEY"}
    start = resolve("start", KEYS, environ={"STEPWELL_IN_MEMORY": "true"})
    assert not start.in_memory


@pytest.mark.parametrize(
    ("flags", "code", "flag"),
    [
        ({"event_key": ("k",)}, "signing_key_missing", "--signing-key"),
        ({"signing_key": KEY}, "event_key_missing", "--event-key"),
        ({"signing_key": "odd", "event_key": ("k",)}, "signing_key_invalid", "--signing-key"),
    ],
)
def test_start_needs_its_keys_and_says_how_to_make_them(
    flags: dict[str, Any], code: str, flag: str
) -> None:
    error = refusal("start", flags)
    assert error.code == code
    assert flag in error.message
    if code.endswith("missing"):
        assert "openssl rand" in error.message


@pytest.mark.parametrize(
    ("flags", "environ", "words"),
    [
        ({"port": "x"}, {}, ["--port", "'x'", "0 to 65535"]),
        ({}, {"STEPWELL_PORT": "-1"}, ["STEPWELL_PORT", "'-1'"]),
        ({"connect_lease": "0"}, {}, ["--connect-lease", "0.1"]),
        ({"connect_heartbeat": "0.5"}, {}, ["--connect-heartbeat", "1"]),
        ({"connect_public_url": "http://a"}, {}, ["--connect-public-url", "wss://"]),
        ({"log_level": "loud"}, {}, ["--log-level", "debug, info, warning or error"]),
        ({}, {"STEPWELL_IN_MEMORY": "perhaps"}, ["STEPWELL_IN_MEMORY", "true or false"]),
        ({"event_bytes_max": "1"}, {}, ["--event-bytes-max", "1024"]),
    ],
)
def test_a_bad_value_is_named_with_its_source_and_what_is_right(
    flags: dict[str, Any], environ: dict[str, str], words: list[str]
) -> None:
    error = refusal("dev", flags, environ=environ)
    for word in words:
        assert word in error.message


def test_a_bad_secret_is_not_repeated() -> None:
    for flags in ({"signing_key": "hush"}, {"signing_key": KEY, "event_key": ("hush/",)}):
        assert "hush" not in refusal("start", flags).message


def test_the_file_is_looked_for_upwards_or_named(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "stepwell.toml").write_text("port = 1")
    (tmp_path / "other.toml").write_text("port = 2")
    assert resolve("dev", {}, environ={}, cwd=below).port == 1
    assert resolve("dev", {"config": "../../other.toml"}, environ={}, cwd=below).port == 2
    named = {"STEPWELL_CONFIG": str(tmp_path / "other.toml")}
    assert resolve("dev", {}, environ=named, cwd=below).port == 2
    assert resolve("dev", {}, environ={"INNGEST_CONFIG": named["STEPWELL_CONFIG"]}).port == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"port =", "is not a TOML file"),
        (b"\xff", "is not a TOML file"),
        (b"prot = 1", "no setting is called 'prot'"),
        (b"port = [1]", "port in "),
        (b"[port]\nx = 1", "port in "),
        (b"port = 99999", "99999 cannot be used"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "stepwell.toml").write_bytes(content)
    error = refusal("dev", {}, cwd=tmp_path)
    assert words in error.message
    assert str(tmp_path / "stepwell.toml") in error.message


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    error = refusal("dev", {"config": "nope.toml"}, cwd=tmp_path)
    assert "--config: cannot read" in error.message
    assert "nope.toml" in error.message
    environ = {"STEPWELL_CONFIG": str(tmp_path)}
    assert "STEPWELL_CONFIG: cannot read" in refusal("dev", {}, environ=environ).message


def test_the_file_may_hold_what_other_commands_read(tmp_path: Path) -> None:
    (tmp_path / "stepwell.toml").write_text('base-url = "http://a"\nlog_level = "debug"')
    assert resolve("dev", {}, environ={}, cwd=tmp_path).log_level == "debug"
