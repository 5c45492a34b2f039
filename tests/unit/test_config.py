"""Which setting wins."""

from __future__ import annotations

import socket

import pytest

from stepwell.config import (
    DEV_EVENT_KEY,
    DEV_SERVER_URL,
    default_instance_id,
    gateway_url_override,
    health_host_setting,
    health_port_setting,
    max_worker_concurrency,
    resolve,
    setting,
)
from stepwell.errors import ConfigError


def test_without_anything_it_is_the_development_server_of_this_machine() -> None:
    settings = resolve(environ={})

    assert not settings.is_production
    assert settings.api_base_url == settings.event_api_base_url == DEV_SERVER_URL
    assert settings.event_key == DEV_EVENT_KEY
    assert settings.signing_keys == ()
    assert settings.env is None
    assert settings.app_version is None


@pytest.mark.parametrize(
    ("option", "environ", "is_production"),
    [
        (None, {}, False),
        (None, {"STEPWELL_SIGNING_KEY": "ab"}, True),
        (None, {"INNGEST_SIGNING_KEY": "ab"}, True),
        (None, {"STEPWELL_SIGNING_KEY": "ab", "STEPWELL_DEV": "1"}, False),
        (None, {"INNGEST_SIGNING_KEY": "ab", "INNGEST_DEV": "http://h:1"}, False),
        (None, {"STEPWELL_DEV": "0"}, True),
        (None, {"INNGEST_DEV": "False"}, True),
        (None, {"STEPWELL_DEV": "", "INNGEST_DEV": "0"}, True),
        (True, {"STEPWELL_DEV": "1"}, True),
        (False, {"STEPWELL_SIGNING_KEY": "ab"}, False),
    ],
)
def test_mode(option: bool | None, environ: dict[str, str], is_production: bool) -> None:
    environ = {"STEPWELL_BASE_URL": "http://s:1", **environ}

    assert resolve(is_production=option, environ=environ).is_production is is_production


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"STEPWELL_DEV": "http://h:9"}, "http://h:9"),
        ({"INNGEST_DEV": "https://h:9/"}, "https://h:9"),
        ({"STEPWELL_DEV": "h:9"}, "http://h:9"),
        ({"STEPWELL_DEV": "localhost"}, "http://localhost"),
        ({"STEPWELL_DEV": "yes"}, DEV_SERVER_URL),
        ({"STEPWELL_DEV": "true"}, DEV_SERVER_URL),
        ({"STEPWELL_BASE_URL": "http://b:1", "STEPWELL_DEV": "http://h:9"}, "http://b:1"),
        ({"INNGEST_BASE_URL": "http://i:1", "STEPWELL_BASE_URL": "http://b:1"}, "http://b:1"),
        ({"STEPWELL_API_BASE_URL": "http://a:1", "STEPWELL_BASE_URL": "http://b:1"}, "http://a:1"),
    ],
)
def test_base_url(environ: dict[str, str], url: str) -> None:
    assert resolve(environ=environ).api_base_url == url


def test_options_win_over_the_environment() -> None:
    environ = {
        f"STEPWELL_{name}": "http://env:1" if name.endswith("URL") else "aa"
        for name in ("API_BASE_URL", "EVENT_API_BASE_URL", "EVENT_KEY", "SIGNING_KEY", "ENV")
    }

    settings = resolve(
        api_base_url="http://option:1/",
        event_api_base_url="http://events:1",
        event_key="key",
        signing_key="bb",
        signing_key_fallback="cc",
        env="branch",
        app_version="v7",
        environ=environ,
    )

    assert settings.api_base_url == "http://option:1"
    assert settings.event_api_base_url == "http://events:1"
    assert settings.event_key == "key"
    assert settings.signing_keys == ("bb", "cc")
    assert settings.env == "branch"
    assert settings.app_version == "v7"


def test_production_without_a_server_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(signing_key="ab", environ={})

    assert caught.value.code == "base_url_missing"


def test_production_may_name_only_the_event_server() -> None:
    settings = resolve(is_production=True, event_api_base_url="http://e:1", environ={})

    assert settings.api_base_url is None
    assert settings.event_key is None


@pytest.mark.parametrize("url", ["host:1", "ftp://host", "http://", "/path"])
def test_base_url_must_be_one(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(api_base_url=url, environ={})

    assert caught.value.code == "url_invalid"


def test_environment_is_the_process_s_own_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_BASE_URL", "http://from-environ:1")
    monkeypatch.setenv("STEPWELL_CONNECT_GATEWAY_URL", "ws://gw:1")
    monkeypatch.setenv("STEPWELL_CONNECT_MAX_WORKER_CONCURRENCY", "3")
    monkeypatch.setenv("STEPWELL_INSTANCE_ID", "box")

    assert resolve().api_base_url == "http://from-environ:1"
    assert gateway_url_override() == "ws://gw:1"
    assert max_worker_concurrency(None) == 3
    assert default_instance_id() == "box"


@pytest.mark.parametrize(
    "name", ["STEPWELL_APP_VERSION", "GITHUB_SHA", "RENDER_GIT_COMMIT", "FLY_MACHINE_VERSION"]
)
def test_app_version_comes_from_the_platform(name: str) -> None:
    assert resolve(environ={name: "abc", "RAILWAY_GIT_COMMIT_SHA": "later"}).app_version == "abc"


def test_instance_id_is_the_host_name_at_last() -> None:
    assert default_instance_id({}) == socket.gethostname()
    assert default_instance_id({"HOSTNAME": "h", "FLY_MACHINE_ID": "m"}) == "m"


def test_empty_variables_count_as_unset() -> None:
    assert setting("X", {"STEPWELL_X": "", "INNGEST_X": "i"}) == "i"
    assert setting("X", {"STEPWELL_X": ""}) is None


def test_concurrency() -> None:
    environ = {"INNGEST_CONNECT_MAX_WORKER_CONCURRENCY": "7"}

    assert max_worker_concurrency(None, {}) == 0
    assert max_worker_concurrency(None, environ) == 7
    assert max_worker_concurrency(0, environ) == 0
    assert max_worker_concurrency(5, environ) == 5


@pytest.mark.parametrize(
    ("option", "text"), [(-1, ""), (None, "many"), (None, "-2"), (None, "1.5")]
)
def test_concurrency_must_be_a_number(option: int | None, text: str) -> None:
    with pytest.raises(ConfigError):
        max_worker_concurrency(option, {"STEPWELL_CONNECT_MAX_WORKER_CONCURRENCY": text})


def test_secrets_are_masked() -> None:
    settings = resolve(
        is_production=True,
        api_base_url="http://h:1",
        event_key="event-secret",
        signing_key="signing-secret",
        environ={},
    )

    assert "secret" not in repr(settings)
    assert "event_key='***', signing_key='***', signing_key_fallback=None" in repr(settings)
    assert "api_base_url='http://h:1'" in repr(settings)


@pytest.mark.parametrize("url", ["http://[::1", "http://h:99999", "http://:1", "http://h:x"])
def test_base_url_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(api_base_url=url, environ={})

    assert caught.value.code == "url_invalid"


def test_health_port_and_host_come_from_the_environment() -> None:
    assert health_port_setting({}) is None
    assert health_host_setting({}) == "127.0.0.1"
    assert health_port_setting({"INNGEST_CONNECT_HEALTH_PORT": "8080"}) == 8080
    assert health_host_setting({"STEPWELL_CONNECT_HEALTH_HOST": "0.0.0.0"}) == "0.0.0.0"


@pytest.mark.parametrize("text", ["http", "-1", "65536", "8080.0", "²"])
def test_health_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="CONNECT_HEALTH_PORT"):
        health_port_setting({"STEPWELL_CONNECT_HEALTH_PORT": text})
