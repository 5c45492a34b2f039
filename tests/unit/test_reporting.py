"""Reports over HTTP: attempts, keys, and what each answer means."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web

from stepwell.background import background
from stepwell.checkpointer import Answer, Checkpointer
from stepwell.checkpointing import PERFORMANT, SAFE, Checkpointing
from stepwell.config import ClientSettings
from stepwell.reporting import (
    ATTEMPTS,
    BACKOFF_BASE_S,
    JITTER_S,
    http_send,
    post_checkpoint,
    served_checkpointer,
    watched,
)
from stepwell.wire.calls import decode_call
from stepwell.wire.keys import bearer_token
from tests.unit.connect.gateway import call_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "signkey-prod-" + "ab" * 32
OTHER = "signkey-prod-" + "cd" * 32


class Api:
    """Answers reports with the given statuses, then 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.taken: list[tuple[str, dict[str, str], Any]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.taken.append((request.path, dict(request.headers), body))
        status = self.statuses.pop(0) if self.statuses else 200
        headers = {"Location": "/elsewhere"} if status == 302 else {}
        return web.Response(status=status, headers=headers)


@asynccontextmanager
async def served() -> AsyncIterator[Api]:
    api = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield api
    finally:
        await runner.cleanup()


def settings(url: str, *keys: str) -> ClientSettings:
    return ClientSettings(
        is_production=bool(keys),
        api_base_url=url,
        event_api_base_url=url,
        event_key=None,
        signing_key=keys[0] if keys else None,
        signing_key_fallback=keys[1] if len(keys) > 1 else None,
        env=None,
        app_version=None,
    )


async def posted(
    statuses: list[int], *keys: str, pauses: list[float] | None = None
) -> tuple[Answer, Api]:
    """What a report ends with that is answered like this."""
    waited: list[float] = [] if pauses is None else pauses

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    async with served() as api:
        api.statuses = [*statuses]
        posting = post_checkpoint(
            settings(api.url, *keys),
            "run-1",
            b'{"steps":[]}',
            pause=pause,
            jitter=lambda most: most,
        )
        answer = await asyncio.wrap_future(background().submit(posting))
        return answer, api


@pytest.mark.parametrize(
    ("statuses", "answer", "attempts"),
    [
        ([200], Answer.STORED, 1),
        ([204], Answer.STORED, 1),
        ([409], Answer.STALE, 1),
        ([400], Answer.FAILED, 1),
        ([413], Answer.FAILED, 1),
        ([302], Answer.FAILED, 1),
        ([401], Answer.FAILED, 1),
        ([503, 429, 408, 500, 200], Answer.STORED, 5),
        ([503] * 9, Answer.FAILED, ATTEMPTS),
        ([503, 409], Answer.STALE, 2),
    ],
)
def test_answers(statuses: list[int], answer: Answer, attempts: int) -> None:
    got, api = asyncio.run(posted(statuses))

    assert (got, len(api.taken)) == (answer, attempts)


def test_pauses_double() -> None:
    pauses: list[float] = []
    asyncio.run(posted([503] * 9, pauses=pauses))

    assert pauses == [BACKOFF_BASE_S * 2**n + JITTER_S for n in range(ATTEMPTS - 1)]


def test_next_key_is_tried_when_one_is_refused() -> None:
    answer, api = asyncio.run(posted([503, 401], KEY, OTHER))

    assert answer is Answer.STORED
    sent = [headers["Authorization"] for _, headers, _ in api.taken]
    assert sent == [f"Bearer {bearer_token(key)}" for key in (KEY, KEY, OTHER)]


def test_server_that_cannot_be_reached_is_a_failed_report() -> None:
    async def run() -> Answer:
        async def pause(_seconds: float) -> None: ...

        async with served() as api:
            gone = settings(api.url)
        posting = post_checkpoint(gone, "run-1", b"{}", pause=pause)
        return await asyncio.wrap_future(background().submit(posting))

    assert asyncio.run(run()) is Answer.FAILED


def test_report_names_its_call() -> None:
    async def run() -> Api:
        async with served() as api:
            call = decode_call(call_body())
            answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            loop = asyncio.get_running_loop()

            def done(answer: Answer) -> None:
                loop.call_soon_threadsafe(answered.set_result, answer)

            http_send(settings(api.url), call)(0, b"[1]", done)
            async with asyncio.timeout(5):
                assert await answered is Answer.STORED
            return api

    [(path, headers, body)] = asyncio.run(run()).taken
    assert path == "/v1/checkpoint/run-1/async"
    assert "Authorization" not in headers
    named = {key: body[key] for key in ("run_id", "fn_id", "request_id", "generation_id", "steps")}
    assert named == {
        "run_id": "run-1",
        "fn_id": "function-id",
        "request_id": "req-1",
        "generation_id": 1,
        "steps": [1],
    }
    assert body["request_started_at"] <= body["ts"]


def test_served_call_has_a_checkpointer_if_its_function_checkpoints() -> None:
    call = decode_call(call_body())
    client = settings("http://127.0.0.1:1")

    assert served_checkpointer(None, client, call) is None
    made = served_checkpointer(SAFE, client, call)
    assert isinstance(made, Checkpointer)
    assert not made.should_end


def test_steps_of_a_watched_call_leave_after_their_interval() -> None:
    left: list[bytes] = []
    gone = threading.Event()

    def send(_number: int, steps: bytes, done: Any) -> None:
        left.append(steps)
        done(Answer.STORED)
        gone.set()

    checkpointer = Checkpointer(Checkpointing(buffered_steps=100, max_interval=1), send=send)
    checkpointer.add(msgspec.json.encode(1))
    with watched(checkpointer):
        assert gone.wait(5)
    assert left == [b"[1]"]


def test_what_has_no_interval_is_not_watched() -> None:
    with watched(None), watched(Checkpointer(SAFE, send=lambda *_args: None)):
        assert PERFORMANT.max_interval_ms > 0
