"""Texts become values, or a sentence that says what would have been right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.errors import ConfigError
from stepwell.server import setting_values as values

if TYPE_CHECKING:
    from collections.abc import Callable

seconds = values.seconds(least=0.1, most=100)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (values.text, "a", "a"),
        (values.switch, "YES", True),
        (values.switch, "0", False),
        (values.port, "0", 0),
        (values.port, "65535", 65_535),
        (seconds, "0.1", 100),
        (seconds, "1e1", 10_000),
        (seconds, "99.9996", 100_000),
        (values.seconds_or_none(most=9), "0", None),
        (values.seconds_or_none(most=9), "1", 1_000),
        (values.path, "~/x", Path.home() / "x"),
        (values.log_level, "WARN", "warning"),
        (values.signing_key, "signkey-prod-abcd", "signkey-prod-abcd"),
        (values.event_key, "k", "k"),
        (values.websocket_url, "wss://a.example/v0/connect", "wss://a.example/v0/connect"),
        (values.websocket_url, "ws://[::1]:80", "ws://[::1]:80"),
    ],
)
def test_good_texts(read: Callable[[str], Any], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (values.text, ""),
        (values.switch, "maybe"),
        (values.port, "65536"),
        (values.port, "-1"),
        (values.port, "8 0"),
        (values.port, "٣"),
        (values.port, "9" * 5_000),
        (seconds, "0"),
        (seconds, "100.1"),
        (seconds, "nan"),
        (seconds, "inf"),
        (seconds, "5s"),
        (values.path, ""),
        (values.log_level, "loud"),
        (values.event_key, ""),
        (values.event_key, "a/b"),
        (values.event_key, "a\n"),
        (values.websocket_url, "http://a.example"),
        (values.websocket_url, "wss://"),
        (values.websocket_url, "wss://a:0"),
        (values.websocket_url, "wss://a:99999"),
        (values.websocket_url, "wss://[::1"),
    ],
)
def test_bad_texts(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        read(text)


def test_a_signing_key_that_cannot_sign() -> None:
    with pytest.raises(ConfigError):
        values.signing_key("abc")


@pytest.mark.parametrize(
    ("given", "text"), [(True, "true"), (False, "false"), (5, "5"), (0.5, "0.5"), ("a", "a")]
)
def test_values_of_a_file_are_read_as_texts(given: object, text: str) -> None:
    assert values.as_text(given) == text


@pytest.mark.parametrize("given", [None, [], {}, object()])
def test_what_a_file_may_not_hold(given: object) -> None:
    with pytest.raises(ValueError, match="a text"):
        values.as_text(given)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://a:3000/api/inngest", "http://a:3000/api/inngest"),
        ("https://a/", "https://a/"),
        ("localhost:3000/api/inngest", "http://localhost:3000/api/inngest"),
    ],
)
def test_an_app_is_at_an_http_url(given: str, url: str) -> None:
    assert values.app_url(given) == url


@pytest.mark.parametrize("given", ["", "ftp://a/", "http://", "http://a:0/", "http://[::1"])
def test_an_app_is_nowhere_else(given: str) -> None:
    with pytest.raises(ValueError, match="http://localhost:3000"):
        values.app_url(given)


def test_a_range_of_addresses() -> None:
    assert values.address_range("10.1.0.0/16") == "10.1.0.0/16"
    assert values.address_range("fd12::1") == "fd12::1/128"
    for given in ("10.1.2.3/16", "10.1.0.0/33", "here", ""):
        with pytest.raises(ValueError, match=r"10\.1\.0\.0/16"):
            values.address_range(given)
