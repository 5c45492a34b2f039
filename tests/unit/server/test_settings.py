"""The table of settings."""

from __future__ import annotations

import pytest

from stepwell.server.setting_sources import resolve
from stepwell.server.settings import WITHOUT_MEANING, Settings, options, parameter

# Flags that other tools' scripts pass, and what the issue names.
DEV = """--sdk-url -u --no-discovery --no-poll --config --host --port -p --persist --poll-interval
--retry-interval --queue-workers --tick --connect-gateway-port --connect-gateway-grpc-port
--connect-executor-grpc-port --connect-gateway-grpc-ip --connect-executor-grpc-ip --sqlite-dir
--postgres-uri --debug-api-port --json --verbose --log-level -l --data-dir --in-memory --no-ui
--connect-public-url --connect-lease --connect-heartbeat --connect-reconnect-grace
--connect-drain-wait"""
START = """--config --host --port -p --sdk-url -u --poll-interval --retry-interval --queue-workers
--tick --connect-gateway-port --signing-key --signing-key-fallback --event-key --sqlite-dir
--redis-uri --postgres-uri --postgres-max-idle-conns --postgres-max-open-conns
--postgres-conn-max-idle-time --postgres-conn-max-lifetime --no-ui --connect-public-url"""


@pytest.mark.parametrize(("mode", "flags"), [("dev", DEV), ("start", START)])
def test_every_flag_of_the_reference_is_known(mode: str, flags: str) -> None:
    known = {"--config"}
    for option in (*options().values(), *WITHOUT_MEANING):
        if mode in option.modes:
            known |= {*option.flags, option.short or "--config"}
    assert set(flags.split()) <= known


def test_no_two_options_share_a_flag_or_a_variable() -> None:
    every = (*options().values(), *WITHOUT_MEANING)
    flags = [flag for option in every for flag in (*option.flags, option.short) if flag]
    assert len(flags) == len(set(flags))
    variables = [name for option in every for name in option.environment]
    assert len(variables) == len(set(variables))


def test_every_option_explains_itself_and_its_default_passes_its_own_reader() -> None:
    for field, option in options().items():
        assert option.help.endswith("."), field
        value = getattr(Settings(), field)
        if value in (None, (), False):
            continue
        text = f"{value / 1000:g}" if field.endswith("_ms") else str(value)
        assert option.read(text) == value, field


def test_flags_name_fields_and_variables() -> None:
    lease = options()["connect_lease_ms"]
    assert parameter(lease) == "connect_lease"
    assert lease.environment == ("STEPWELL_CONNECT_LEASE", "INNGEST_CONNECT_LEASE")
    data = options()["data_dir"]
    assert data.environment[:2] == ("STEPWELL_DATA_DIR", "STEPWELL_SQLITE_DIR")
    assert options()["log_level"].environment[-1] == "LOG_LEVEL"


def test_the_kind_of_server_and_its_keys() -> None:
    assert (Settings().server_kind, Settings(mode="start").server_kind) == ("dev", "cloud")
    both = Settings(signing_key="aa", signing_key_fallback="bb")
    assert both.signing_keys == ("aa", "bb")
    assert Settings().signing_keys == ()


def test_secrets_are_not_in_what_is_printed() -> None:
    settings = resolve(
        "start",
        {"signing_key": "ab" * 32, "signing_key_fallback": "cd" * 32, "event_key": ("hush",)},
        environ={},
    )
    printed = repr(settings) + str(settings)
    assert "ab" * 32 not in printed
    assert "cd" * 32 not in printed
    assert "hush" not in printed
    assert "***" in printed
    assert "port=8288" in printed
