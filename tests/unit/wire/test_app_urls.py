from __future__ import annotations

import pytest

from stepwell.wire.app_urls import host_of, normal_url, with_step


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("http://127.0.0.1:3000/api/inngest?deployId=x", "http://localhost:3000/api/inngest"),
        ("http://0.0.0.0:3000/a", "http://localhost:3000/a"),
        ("http://127.0.0.1/a", "http://127.0.0.1/a"),
        ("http://a:80/b", "http://a/b"),
        ("https://a:443/b", "https://a/b"),
        ("http://a:443/b", "http://a:443/b"),
        ("HTTP://A/b", "http://a/b"),
        ("http://a/b?z=1&a=2&probe=trust", "http://a/b?a=2&z=1"),
        ("http://a/b?q=a%20b#there", "http://a/b?q=a+b"),
        ("http://[::1]:3000/a", "http://[::1]:3000/a"),
        ("http://[::1]:80/a", "http://[::1]/a"),
        ("ws://connect?app_name=shop", "ws://connect?app_name=shop"),
        ("http://a:port/", "http://a:port/"),
        ("http://[::1/", "http://[::1/"),
        ("", ""),
    ],
)
def test_a_place_has_one_spelling(given: str, normal: str) -> None:
    assert normal_url(given) == normal
    assert normal_url(normal) == normal


@pytest.mark.parametrize(
    ("registered", "called"),
    [
        ("http://a/b?fnId=f&stepId=step", "http://a/b?fnId=f&stepId=0a1b"),
        ("http://a/b?step=step&fnId=f", "http://a/b?fnId=f&step=step&stepId=0a1b"),
        ("http://127.0.0.1:3000/b", "http://localhost:3000/b?stepId=0a1b"),
    ],
)
def test_a_call_names_its_step_in_the_url(registered: str, called: str) -> None:
    assert with_step(registered, "0a1b") == called


def test_apps_on_one_host_share_it() -> None:
    assert host_of("http://a/x") == host_of("http://A:80/y") == "a:80"
    assert host_of("https://a/") == "a:443"
    assert host_of("http://[bad") == "http://[bad"
