"""WORKER_CONNECT is checked in the protocol's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.errors import WireError
from stepwell.server.gateway.hello import (
    APPS_MAX,
    AUTHENTICATION_FAILED,
    FIELDS_MAX,
    INVALID_PAYLOAD,
    TOO_MANY_APPS,
    read_hello,
)
from stepwell.wire.connect import SystemAttributes
from stepwell.wire.ids import parse_ulid, ulid_ms
from tests.unit.server.gateway.messages import CONNECTION_ID, app, hello

if TYPE_CHECKING:
    from stepwell.wire.connect import WorkerConnectRequestData


def authenticate(_connection_id: str, session_token: str, _sync_token: str) -> bool:
    return session_token == "good"


def refusal(message: WorkerConnectRequestData) -> str:
    with pytest.raises(WireError) as caught:
        read_hello(message.SerializeToString(), authenticate)
    return caught.value.code


def test_a_hello_is_read_whole() -> None:
    message = hello(
        app("shop", version="v1"),
        app("billing", version=None),
        worker_manual_readiness_ack=True,
        max_worker_concurrency=3,
        system_attributes=SystemAttributes(cpu_cores=8, mem_bytes=16, os="linux"),
    )
    read = read_hello(message.SerializeToString(), authenticate)
    assert [(one.name, one.version) for one in read.apps] == [("shop", "v1"), ("billing", None)]
    assert (read.instance_id, read.manual_readiness, read.limit) == ("box-7", True, 3)
    assert (read.cpu_cores, read.mem_bytes, read.os) == (8, 16, "linux")
    assert read.started_ms == ulid_ms(parse_ulid(CONNECTION_ID))


@pytest.mark.parametrize("limit", [0, -1])
def test_no_limit_and_limits_below_one_mean_none(limit: int) -> None:
    assert read_hello(hello().SerializeToString(), authenticate).limit is None
    limited = hello(max_worker_concurrency=limit)
    assert read_hello(limited.SerializeToString(), authenticate).limit is None


def test_what_is_not_decodable_is_refused() -> None:
    with pytest.raises(WireError) as caught:
        read_hello(b"\xff\xff\xff", authenticate)
    assert caught.value.code == INVALID_PAYLOAD


@pytest.mark.parametrize(
    "message",
    [
        hello(connection_id="not a ULID"),
        hello(connection_id=""),
        hello(connection_id="8" + CONNECTION_ID[1:]),
        hello(instance_id=""),
    ],
)
def test_a_bad_id_is_an_invalid_payload(message: WorkerConnectRequestData) -> None:
    assert refusal(message) == INVALID_PAYLOAD


def test_a_wrong_token_comes_before_the_apps() -> None:
    message = hello(session_token="forged")
    del message.apps[:]
    assert refusal(message) == AUTHENTICATION_FAILED


def test_no_app_is_an_invalid_payload() -> None:
    message = hello()
    del message.apps[:]
    assert refusal(message) == INVALID_PAYLOAD


def test_one_app_more_than_allowed_is_too_many() -> None:
    apps = [app(f"app{number}") for number in range(APPS_MAX)]
    assert len(read_hello(hello(*apps).SerializeToString(), authenticate).apps) == 10
    assert refusal(hello(*apps, app("last"))) == TOO_MANY_APPS


EMPTY_APP = b"\x2a\x00"


def test_more_fields_than_any_worker_has_are_refused_before_they_are_read() -> None:
    # Before the token is looked at, although it is wrong.
    message = hello(session_token="forged").SerializeToString()
    for count, code in ((10, AUTHENTICATION_FAILED), (FIELDS_MAX, INVALID_PAYLOAD)):
        with pytest.raises(WireError) as caught:
            read_hello(message + EMPTY_APP * count, authenticate)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "field",
    [
        b"\xa8\x06\x96\x01",  # field 101: a number of two bytes
        b"\xa9\x06" + b"\xff" * 8,
        b"\xaa\x06\x80\x01" + EMPTY_APP * 64,  # what is inside a field is not counted
        b"\xab\x06" + EMPTY_APP + b"\xac\x06",
        b"\xad\x06" + b"\xff" * 4,
    ],
)
def test_fields_of_any_kind_are_counted_and_passed_over(field: bytes) -> None:
    message = hello().SerializeToString()
    assert read_hello(message + field * 100, authenticate).instance_id == "box-7"
    with pytest.raises(WireError) as caught:
        read_hello(message + field * FIELDS_MAX, authenticate)
    assert "fields" in caught.value.message


@pytest.mark.parametrize("end", [b"\x80", b"\x2a\xff", b"\x80" * 20, b"\x29\x00", b"\x2a\x05a"])
def test_a_field_that_is_cut_off_is_left_to_the_decoder(end: bytes) -> None:
    with pytest.raises(WireError) as caught:
        read_hello(hello().SerializeToString() + end, authenticate)
    assert "not decodable" in caught.value.message
