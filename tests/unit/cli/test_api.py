"""The HTTP client of the commands."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from stepwell.cli.api import Api, NotFound, Unreachable
from stepwell.cli.target import resolve
from stepwell.errors import AuthError, WireError
from stepwell.wire.keys import bearer_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.cli.conftest import ScriptedApi


@pytest.fixture
def api(api_server: tuple[ScriptedApi, str], tmp_path: Path) -> Iterator[Api]:
    settings = resolve(
        url=api_server[1],
        signing_key="aa11",
        event_key="k/1",
        environ={"STEPWELL_SIGNING_KEY_FALLBACK": "bb22"},
        cwd=tmp_path,
    )
    with Api(settings, timeout_s=5) as api:
        yield api


def test_a_get_carries_the_key_and_the_query(api: Api, script: ScriptedApi) -> None:
    script.answer("/v2/runs", {"data": []})
    assert api.get("/v2/runs", [("status", "FAILED"), ("status", "RUNNING")]) == {"data": []}
    assert script.last.query == [("status", "FAILED"), ("status", "RUNNING")]
    assert script.last.headers["authorization"] == f"Bearer {bearer_token('aa11')}"


def test_the_fallback_key_is_tried_after_a_refusal(api: Api, script: ScriptedApi) -> None:
    script.answer("/v2/apps", b"Authentication failed", 401)
    script.answer("/v2/apps", {"data": [1]})
    assert api.get("/v2/apps") == {"data": [1]}
    assert script.last.headers["authorization"] == f"Bearer {bearer_token('bb22')}"


def test_both_keys_refused_says_which_option_helps(api: Api, script: ScriptedApi) -> None:
    script.answer("/v2/apps", b"Authentication failed", 401)
    with pytest.raises(AuthError, match="another signing key; pass --signing-key"):
        api.get("/v2/apps")
    assert len(script.requests) == 2


def test_a_server_with_keys_asks_for_one(
    api_server: tuple[ScriptedApi, str], tmp_path: Path
) -> None:
    script, url = api_server
    script.answer("/v2/apps", b"Authentication failed", 401)
    with (
        Api(resolve(url=url, environ={}, cwd=tmp_path)) as api,
        pytest.raises(AuthError, match="wants a signing key"),
    ):
        api.get("/v2/apps")
    assert "authorization" not in script.last.headers


def test_pages_are_joined_up_to_the_limit(api: Api, script: ScriptedApi) -> None:
    first = [{"n": n} for n in range(100)]
    script.answer("/v2/runs", {"data": first, "page": {"hasMore": True, "cursor": "c1"}})
    script.answer(
        "/v2/runs", {"data": [{"n": 100}, {"n": 101}], "page": {"hasMore": True, "cursor": "c2"}}
    )
    numbers = [item["n"] for item in api.pages("/v2/runs", [("order", "asc")], limit=102)]
    assert numbers == list(range(102))
    assert [request.query for request in script.requests] == [
        [("order", "asc"), ("limit", "100")],
        [("order", "asc"), ("limit", "2"), ("cursor", "c1")],
    ]


def test_a_last_page_ends_the_list(api: Api, script: ScriptedApi) -> None:
    script.answer("/v2/runs", {"metadata": {}, "page": {"limit": 20}})
    assert list(api.pages("/v2/runs", limit=50)) == []
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("content", "status", "code", "message"),
    [
        ({"errors": [{"code": "validation_error", "message": "no such day"}]}, 400,
         "validation_error", "no such day"),
        ({"code": "bad_cursor", "error": "old shape", "data": None, "status": 400}, 400,
         "bad_cursor", "old shape"),
        ({"errors": []}, 503, "invalid_request", "status 503"),
    ],
)  # fmt: skip
def test_refusals_keep_the_servers_words(
    api: Api, script: ScriptedApi, content: object, status: int, code: str, message: str
) -> None:
    script.answer("/v2/runs", content, status)
    with pytest.raises(WireError) as caught:
        api.get("/v2/runs")
    assert (caught.value.code, caught.value.message) == (code, message)


def test_what_is_not_found_is_told_apart(api: Api) -> None:
    with pytest.raises(NotFound, match="Nothing here"):
        api.get("/v2/runs/1")


def test_something_else_at_that_address_is_recognised(api: Api, script: ScriptedApi) -> None:
    script.answer("/v2/runs", b"<html>Welcome</html>")
    with pytest.raises(WireError, match="not as a Stepwell server") as caught:
        api.get("/v2/runs")
    assert caught.value.code == "not_a_server"


@pytest.mark.parametrize(
    ("content", "status"), [({"detail": "Not Found"}, 404), ({}, 200), (b"Unauthorized", 401)]
)
def test_another_program_is_recognised_whatever_it_answers(
    api: Api, script: ScriptedApi, content: object, status: int
) -> None:
    script.is_ours = False
    script.answer("/v2/runs", content, status)
    script.answer("/e/k%2F1", content, status)
    for ask in (lambda: api.get("/v2/runs"), lambda: api.send([{"name": "a"}])):
        with pytest.raises(WireError, match=f"answered with status {status}") as caught:
            ask()
        assert caught.value.code == "not_a_server"


def test_what_does_not_speak_http_is_no_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with (
            Api(resolve(url=url, environ={}, cwd=tmp_path), timeout_s=5) as api,
            pytest.raises(WireError, match="did not answer in HTTP") as caught,
        ):
            api.get("/v2/runs")
    thread.join()
    assert caught.value.code == "not_a_server"


def test_an_event_goes_to_the_key_in_the_path(api: Api, script: ScriptedApi) -> None:
    script.answer("/e/k%2F1", {"ids": ["01A"], "status": 200})
    assert api.send([{"name": "a"}]) == ["01A"]
    assert script.last.body == b'[{"name":"a"}]'


def test_an_unknown_event_key_says_which_option_helps(api: Api, script: ScriptedApi) -> None:
    script.answer("/e/k%2F1", {"status": 401, "error": "Event key not found"}, 401)
    with pytest.raises(AuthError, match="--event-key"):
        api.send([{"name": "a"}])


def test_a_kept_connection_that_was_closed_is_opened_again(api: Api, script: ScriptedApi) -> None:
    script.answer("/v2/runs", {"data": []})
    script.hang_up_after_each = True
    for _ in range(3):
        assert api.get("/v2/runs") == {"data": []}
    assert len(script.requests) == 3


def test_an_event_is_not_sent_twice_when_the_answer_is_lost(tmp_path: Path) -> None:
    taken: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def take_and_hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    taken.append(connection.recv(65_536))
                    connection.close()

        thread = threading.Thread(target=take_and_hang_up)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with (
            Api(resolve(url=url, environ={}, cwd=tmp_path), timeout_s=5) as api,
            pytest.raises(Unreachable, match=r"left in the middle of an answer|reset"),
        ):
            api.send([{"name": "a"}])
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert len(taken) == 1


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Api(resolve(url=url, environ={}, cwd=tmp_path), timeout_s=0.05) as api,
            pytest.raises(Unreachable, match="does not answer in time"),
        ):
            api.get("/v2/runs")
