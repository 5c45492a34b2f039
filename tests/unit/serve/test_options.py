"""Options of serving: the program's, then ours, then the official names."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from stepwell.errors import ConfigError
from stepwell.serve.options import ServeOptions, resolve_options, route_of, serve_path_of


def options(environ: dict[str, str] | None = None, **given: Any) -> ServeOptions:
    return resolve_options(framework="test", environ=environ or {}, **given)


def test_by_default_each_request_says_where_the_app_is() -> None:
    assert options() == ServeOptions(framework="test")


def test_the_option_wins_then_our_name_then_the_official_one() -> None:
    both = {"STEPWELL_SERVE_ORIGIN": "http://b", "INNGEST_SERVE_ORIGIN": "http://c"}

    assert options(both, serve_origin="http://a/").origin == "http://a"
    assert options(both).origin == "http://b"
    assert options({"INNGEST_SERVE_ORIGIN": "http://c"}).origin == "http://c"


@pytest.mark.parametrize(
    "text", ["shop.example.com", "ftp://a", "http://", "http://a/b", "http://a?b", "http://[", "http://a:0"]
)  # fmt: skip
def test_an_origin_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        options(serve_origin=text)
    assert caught.value.code == "url_invalid"


def test_paths_begin_at_the_root() -> None:
    assert options(public_path="a/b").path == "/a/b"
    assert route_of(None, {}) == "/api/inngest"
    assert route_of(None, {"INNGEST_SERVE_PATH": "x"}) == "/x"
    assert route_of("/y", {"INNGEST_SERVE_PATH": "x"}) == "/y"
    assert serve_path_of(None, {}) is None


class Streaming(Enum):
    FORCE = "force"
    DISABLE = "disable"


@pytest.mark.parametrize(("value", "streams"), [
    (None, False), (True, True), (False, False), ("force", True), ("disable", False),
    (Streaming.FORCE, True), (Streaming.DISABLE, False),
])  # fmt: skip
def test_streaming(value: object, streams: bool) -> None:
    assert options(streaming=value).streaming is streams


@pytest.mark.parametrize(("text", "streams"), [("true", True), ("allow", True), ("FORCE", True),
                                               ("disable", False), ("0", False)])  # fmt: skip
def test_streaming_by_the_environment(text: str, streams: bool) -> None:
    assert options({"INNGEST_STREAMING": text}).streaming is streams
    assert options({"INNGEST_STREAMING": text}, streaming=False).streaming is False


@pytest.mark.parametrize(("environ", "given"), [
    ({"STEPWELL_STREAMING": "perhaps"}, {}),
    ({"STEPWELL_ALLOW_IN_BAND_SYNC": "2"}, {}),
    ({"STEPWELL_THREAD_POOL_MAX_WORKERS": "-1"}, {}),
    ({"STEPWELL_THREAD_POOL_MAX_WORKERS": "many"}, {}),
    ({}, {"streaming": 5}),
])  # fmt: skip
def test_what_cannot_be_meant_is_refused(environ: dict[str, str], given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        options(environ, **given)


def test_syncs() -> None:
    assert options().in_band
    assert not options({"INNGEST_ALLOW_IN_BAND_SYNC": "0"}).in_band
    assert not options().takes_unsigned_sync
    assert options(serve_origin="http://a").takes_unsigned_sync
    assert options({"INNGEST_ENABLE_UNAUTHED_SYNC": "1"}).takes_unsigned_sync
    assert not options(
        {"INNGEST_ENABLE_UNAUTHED_SYNC": "1"}, enable_unauthed_sync=False
    ).takes_unsigned_sync


def test_threads() -> None:
    assert options().threads_max == 64
    assert options({"INNGEST_THREAD_POOL_MAX_WORKERS": "0"}).threads_max == 0
