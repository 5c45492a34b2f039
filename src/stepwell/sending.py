"""Sending events: one POST, repeated while that can help.

Source: docs/reference/wire/events.md.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import time
from io import BytesIO
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

import aiohttp
import msgspec

from stepwell.config import SDK_NAME
from stepwell.errors import SendEventsError
from stepwell.wire.durations import retry_at_ms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ATTEMPTS_DEFAULT = 5
BACKOFF_BASE_S = 0.1
BACKOFF_MAX_S = 10.0
RETRY_AFTER_S_MAX = 60.0
"""A caller waits no longer than this for a server that asks for time; it gets the error instead."""
ATTEMPT_TIMEOUT_S = 30.0
MASKED_CHARS_MIN = 8  # A shorter key may be any word; it is masked only where it is in an address.

_TOO_MANY_REQUESTS = 429


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    ids: list[str] | None = None
    error: str | None = None


class Pause(Protocol):
    """Waits between attempts; tests pass one that does not."""

    def __call__(self, delay: float, /) -> Awaitable[object]: ...


def new_seed() -> str:
    """The header value from which the server makes the events' ids: the same for every attempt."""
    entropy = base64.b64encode(os.urandom(10)).decode()
    return f"{time.time_ns() // 1_000_000},{entropy}"


async def post_events(
    session: aiohttp.ClientSession,
    *,
    base_url: str,
    event_key: str,
    env: str | None,
    body: bytes,
    proxy: str | None = None,
    attempts: int = ATTEMPTS_DEFAULT,
    pause: Pause = asyncio.sleep,
    jitter: Callable[[float], float] = lambda most: random.uniform(0, most),
) -> list[str]:
    """Post a JSON array of events, up to `attempts` times.

    No answer and answers of 500 and more are tried again, and so is a 429 that names a time.
    Because every attempt has the same seed, an attempt that was stored and not answered makes no
    second run.

    Returns:
        The internal ids in the order of the events.
    Raises:
        SendEventsError: With the ids that were accepted, if some were.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": SDK_NAME,
        "X-Inngest-SDK": SDK_NAME,
        "X-Inngest-Event-Id-Seed": new_seed(),
    }
    if env is not None:
        headers["X-Inngest-Env"] = env
    url = f"{base_url}/e/{event_key}"
    for attempt in range(attempts):
        wait_s = jitter(min(BACKOFF_BASE_S * 2 ** min(attempt, 20), BACKOFF_MAX_S))
        try:
            async with session.post(
                url,
                data=BytesIO(body),  # large ones in pieces
                headers=headers,
                # A redirect would take the events, and the key in the address, somewhere else.
                allow_redirects=False,
                proxy=proxy,
                timeout=aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT_S),
            ) as response:
                status = response.status
                text = await response.read()
                retry_after = response.headers.get("Retry-After")
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = _masked(no_answer_reason(error), event_key)
            failure = SendEventsError(f"the event API at {base_url} could not be reached: {reason}")
        else:
            answer = _read(text)
            if 200 <= status < 300 and answer.ids is not None and not answer.error:
                return answer.ids
            failure = _refused(base_url, status, answer, text, event_key)
            asked_s = _asked_s(retry_after) if status == _TOO_MANY_REQUESTS else None
            if asked_s is not None and asked_s <= RETRY_AFTER_S_MAX:
                wait_s = asked_s
            elif status < 500:
                raise failure
        if attempt + 1 < attempts:
            await pause(wait_s)
    raise failure


def _read(text: bytes) -> _Answer:
    try:
        return msgspec.json.decode(text, type=_Answer)
    except msgspec.DecodeError:  # a proxy's page
        return _Answer()


def _refused(
    base_url: str, status: int, answer: _Answer, text: bytes, event_key: str
) -> SendEventsError:
    page = _masked(text.decode("utf-8", "replace"), event_key)
    said = _masked(answer.error or "", event_key) or page[:200].strip() or "no reason given"
    hint = ""
    if 300 <= status < 400:
        hint = "; redirects are not followed, name the server itself as event_api_base_url="
    if status in (401, 403):
        hint = "; check the event key (event_key= or STEPWELL_EVENT_KEY)"
    ids = [event_id for event_id in answer.ids or [] if event_id]
    return SendEventsError(f"the event API at {base_url} answered {status}: {said}{hint}", ids)


def _masked(text: str, event_key: str) -> str:
    """The text without the event key, which is part of the address that it may name."""
    text = text.replace(f"/e/{event_key}", "/e/***")
    for key in (event_key, unquote(event_key)):
        if len(key) >= MASKED_CHARS_MIN:
            text = text.replace(key, "***")
    return text


def _asked_s(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    now_ms = time.time_ns() // 1_000_000
    at_ms = retry_at_ms(retry_after, now_ms)
    return None if at_ms is None else (at_ms - now_ms) / 1000


def no_answer_reason(error: BaseException) -> str:
    """Why a request got no answer, in the system's words rather than those of the HTTP library."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        # A failed connect has the address for a text, a failed look-up of a name has its own text.
        known = cause.errno is not None and cause.errno > 0
        text = os.strerror(cause.errno or 0) if known else cause.strerror
        return text or str(cause)
    return str(error) or type(error).__name__
