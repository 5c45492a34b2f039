"""Keys in the options of requests are kept apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.engine.request_secrets import is_telling, joined, part

URL = "https://api.example/v1"


def parted(**options: Any) -> tuple[Any, Any]:
    shown, secrets = part(json.dumps(options).encode())
    return json.loads(shown), None if secrets is None else json.loads(secrets)


def test_options_without_a_key_are_told_as_they_are() -> None:
    options = {"url": f"{URL}?page=2", "headers": {"Accept": "a/b"}, "body": "x"}
    assert parted(**options) == (options, None)


def test_the_key_of_a_provider_is_kept_apart() -> None:
    assert parted(url=URL, auth_key="k1") == ({"url": URL, "auth_key": "***"}, {"auth_key": "k1"})


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Authorization",
        "Proxy-Authorization",
        "x-api-key",
        "X-Goog-Api-Key",
        "Cookie",
        "X-Auth-Token",
        "X-Amz-Signature",
        "client_secret",
    ],
)
def test_a_header_that_has_a_key_by_its_name(name: str) -> None:
    shown, secrets = parted(url=URL, headers={name: "k1", "Accept": "a/b"})
    assert shown["headers"] == {name: "***", "Accept": "a/b"}
    assert secrets == {"headers": {name: "k1", "Accept": "a/b"}}


@pytest.mark.parametrize("name", ["Accept", "Content-Type", "User-Agent", "page", "model"])
def test_names_that_tell_of_no_key(name: str) -> None:
    assert not is_telling(name)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:k1@api.example/v1", "https://***@api.example/v1"),
        ("https://api.example/v1?key=k1&page=2", "https://api.example/v1?key=***&page=2"),
        ("https://api.example/v1?access_token=k1", "https://api.example/v1?access_token=***"),
        ("https://[k1", "***"),
    ],
)
def test_a_url_that_has_a_key(url: str, shown: str) -> None:
    told, secrets = parted(url=url)
    assert told["url"] == shown
    assert secrets == {"url": url}


@pytest.mark.parametrize(
    "options",
    [
        b'{"url":"https://a","auth_key":"k1","auth_key":"k2"}',
        b'{"url":"https://a","headers":{"Authorization":"k1"},"headers":{}}',
        b'{"url":"https://a","headers":{"x":"1","Authorization":"k1","Authorization":"k2"}}',
        b'{"url":"https://a","\\u0061uth_key":"k1"}',
        b'{"url":"https://a","headers":["Authorization","k1"]}',
        b'{"url":["k1"]}',
        b'["k1"]',
        b"k1",
    ],
)
def test_options_of_an_odd_form_tell_no_key_either(options: bytes) -> None:
    shown, _secrets = part(options)
    assert b"k1" not in shown
    assert json.loads(shown) is None or isinstance(json.loads(shown), dict)


def test_together_they_are_what_came() -> None:
    options = {
        "url": "https://me:k1@a/b?key=k2",
        "auth_key": "k3",
        "format": "gemini",
        "headers": {"Authorization": ["k4", "k5"], "Accept": "a/b"},
        "body": {"model": "m", "n": [1, None, "é"]},
    }
    shown, secrets = part(json.dumps(options).encode())
    assert not any(f"k{number}".encode() in shown for number in range(1, 6))
    assert json.loads(joined(shown, secrets)) == options
    assert joined(b"null", None) == b"null"
