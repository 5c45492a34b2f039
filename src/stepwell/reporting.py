"""Reporting finished steps over HTTP, while the call that made them goes on.

Source: docs/reference/wire/checkpoints.md.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec

from stepwell.background import background
from stepwell.checkpointer import Answer, Checkpointer
from stepwell.config import SDK_NAME
from stepwell.proxy import proxy_for
from stepwell.wire.keys import bearer_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from stepwell.checkpointer import Send
    from stepwell.checkpointing import Checkpointing
    from stepwell.config import ClientSettings
    from stepwell.sending import Pause
    from stepwell.wire.calls import Call

ATTEMPTS: Final = 5
ATTEMPT_TIMEOUT_S: Final = 30.0
BACKOFF_BASE_S: Final = 0.1
JITTER_S: Final = 0.1

SERVED_RUNTIME_MS: Final = 10_000
"""How long a call lasts that came over HTTP, when nobody says."""

_UNAUTHORISED: Final = (401, 403)
_WORTH_ANOTHER: Final = frozenset({408, 425, 429})


class _Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    run_id: str
    fn_id: str
    qi_id: str
    request_id: str
    request_started_at: int
    ts: int
    steps: msgspec.Raw
    generation_id: int = 0


_ENCODER = msgspec.json.Encoder()


def served_checkpointer(
    config: Checkpointing | None, settings: ClientSettings, call: Call
) -> Checkpointer | None:
    """For a call that came over HTTP; None without checkpointing."""
    if config is None:
        return None
    return Checkpointer(
        config,
        send=http_send(settings, call),
        max_runtime_ms=config.max_runtime_ms(SERVED_RUNTIME_MS),
    )


@contextmanager
def watched(checkpointer: Checkpointer | None) -> Iterator[None]:
    """While a call that came over HTTP runs, its steps leave after their `max_interval`."""
    if checkpointer is None or not checkpointer.interval_s:
        yield
        return
    clock = background().flush_clock
    clock.watch(checkpointer)
    try:
        yield
    finally:
        clock.forget(checkpointer)


def http_send(settings: ClientSettings, call: Call) -> Send:
    """The way to the API, for the reports of one call."""
    started_ms = _now_ms()

    def send(_number: int, steps: bytes, done: Callable[[Answer], None]) -> None:
        ctx = call.ctx
        body = _Body(
            run_id=ctx.run_id,
            fn_id=ctx.fn_id,
            qi_id=ctx.qi_id,
            request_id=ctx.request_id,
            generation_id=ctx.generation_id,
            request_started_at=started_ms,
            ts=_now_ms(),
            steps=msgspec.Raw(steps),
        )
        posting = post_checkpoint(settings, ctx.run_id, _ENCODER.encode(body))

        def answered(future: Future[Answer]) -> None:
            done(Answer.FAILED if future.cancelled() or future.exception() else future.result())

        background().submit(posting).add_done_callback(answered)

    return send


async def post_checkpoint(
    settings: ClientSettings,
    run_id: str,
    body: bytes,
    *,
    pause: Pause = asyncio.sleep,
    jitter: Callable[[float], float] = lambda most: random.uniform(0, most),
) -> Answer:
    """Post a report until it is answered, up to `ATTEMPTS` times. Runs on the background loop."""
    base_url = settings.api_base_url
    assert base_url is not None, "checked when the app was made"
    keys: list[str | None] = [*settings.signing_keys] or [None]
    attempt = 0
    while True:
        try:
            status = await _post(base_url, run_id, body, key=keys[0], env=settings.env)
        except (aiohttp.ClientError, TimeoutError):
            status = 503  # nobody answered
        if 200 <= status < 300:
            return Answer.STORED
        if status == 409:
            return Answer.STALE
        if status in _UNAUTHORISED and len(keys) > 1:
            del keys[0]  # and the same attempt with the next key
            continue
        attempt += 1
        if attempt >= ATTEMPTS or (status < 500 and status not in _WORTH_ANOTHER):
            return Answer.FAILED
        await pause(BACKOFF_BASE_S * 2 ** (attempt - 1) + jitter(JITTER_S))


async def _post(
    base_url: str, run_id: str, body: bytes, *, key: str | None, env: str | None
) -> int:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": SDK_NAME,
        "X-Inngest-SDK": SDK_NAME,
    }
    if key is not None:
        headers["Authorization"] = f"Bearer {bearer_token(key)}"
    if env is not None:
        headers["X-Inngest-Env"] = env
    async with (
        background()
        .session()
        .post(
            f"{base_url}/v1/checkpoint/{run_id}/async",
            data=body,
            headers=headers,
            allow_redirects=False,  # a redirect would take the credential somewhere else
            proxy=proxy_for(base_url),
            timeout=aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT_S),
        ) as response
    ):
        return response.status


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
