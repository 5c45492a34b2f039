"""Which proxy a server is reached through."""

from __future__ import annotations

import logging

import pytest

from stepwell.proxy import is_loopback, proxy_for


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_one_the_server_is_reached_directly() -> None:
    assert proxy_for("https://api.example") is None


def test_proxy_goes_by_the_scheme_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://plain:3128")
    monkeypatch.setenv("https_proxy", "tls:3129")

    assert proxy_for("http://api.example") == "http://plain:3128"
    assert proxy_for("https://api.example:8443/base") == "http://tls:3129"


@pytest.mark.parametrize("exempt", ["api.example", ".example", "other, api.example:8443", "*"])
def test_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch, exempt: str) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", exempt)

    assert proxy_for("https://api.example:8443") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]", "a.localhost"])
def test_this_machine_is_reached_directly(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")

    assert proxy_for(f"http://{host}:8288") is None


@pytest.mark.parametrize("named", ["socks5://proxy:1080", "http://[::1", "http://proxy:99999"])
def test_proxy_that_cannot_be_used_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, named: str
) -> None:
    monkeypatch.setenv("https_proxy", named)

    with caplog.at_level(logging.WARNING, "stepwell"):
        assert proxy_for("https://api.example") is None

    assert "not used" in caplog.text


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1", "", "localhost.example", "::2"])
def test_other_hosts_are_not_this_machine(host: str) -> None:
    assert not is_loopback(host)
