"""Requests, read from what frameworks and callers make of them."""

from __future__ import annotations

import pytest

from stepwell.serve.messages import origin_of, quoted_path, read_headers, read_query


@pytest.mark.parametrize(("host", "origin"), [
    ("shop.example.com", "https://shop.example.com"),
    ("localhost:3000", "https://localhost:3000"),
    ("[::1]:3000", "https://[::1]:3000"),
    (None, "https://127.0.0.1:8000"),
    ("", "https://127.0.0.1:8000"),
    ("a/b", "https://127.0.0.1:8000"),
    ("a@b", "https://127.0.0.1:8000"),
    ("a?b", "https://127.0.0.1:8000"),
    ("a b", "https://127.0.0.1:8000"),
    ("a#b", "https://127.0.0.1:8000"),
    ("a\nb", "https://127.0.0.1:8000"),
    ("a:port", "https://127.0.0.1:8000"),
])  # fmt: skip
def test_the_host_is_what_the_caller_used_if_it_is_one(host: str | None, origin: str) -> None:
    assert origin_of("https", host, ("127.0.0.1", 8000)) == origin


def test_without_host_and_socket_it_is_this_machine() -> None:
    assert origin_of("http", None, None) == "http://localhost"
    assert origin_of("http", None, ("::1", 80)) == "http://[::1]:80"
    assert origin_of("http", None, ("host", None)) == "http://host"


def test_paths_are_quoted_as_in_a_url() -> None:
    assert quoted_path("/a b/ü/%?#") == "/a%20b/%C3%BC/%25%3F%23"
    assert quoted_path("/api/inngest") == "/api/inngest"


def test_the_first_of_a_name_counts() -> None:
    assert read_query("a=1&b=&a=2&c=%20") == {"a": "1", "b": "", "c": " "}
    assert read_headers([("Host", "a"), ("HOST", "b")]) == {"host": "a"}


def test_a_query_with_too_much_in_it_holds_nothing() -> None:
    assert read_query("&".join(f"a{n}=1" for n in range(101))) == {}
