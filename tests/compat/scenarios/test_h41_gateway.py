"""HTTP 41: requests that the server makes for a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.remote import Remote
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h41",
    behaviour="fetch answered 500 is a result; ai.infer answered 500 is retried",
)


def test_fetch(app: RunningApp, remote: Remote) -> None:
    if app.language.name == "python":
        pytest.skip("it has no fetch")
    remote.answers("/fetch", (500, b"broken"))

    event_id = app.send("fetch", {"url": f"{remote.origin}/fetch"})

    assert app.api.completed(event_id) == {"status": 500, "body": "broken"}
    assert remote.count("/fetch") == 1


def test_infer(app: RunningApp, remote: Remote) -> None:
    said = b'{"choices": [{"message": {"role": "assistant", "content": "hi"}}]}'
    remote.answers("/v1/chat/completions", (500, b"busy"), (200, said))

    event_id = app.send("infer", {"url": remote.origin})

    assert app.api.completed(event_id) == {"said": "hi"}
    assert remote.count("/v1/chat/completions") == 2
