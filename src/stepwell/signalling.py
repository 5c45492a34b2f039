"""Sending a signal: one POST to the API, repeated while that can help.

Source: docs/reference/http-api.md, "Signals".
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import aiohttp

from stepwell.config import SDK_NAME
from stepwell.errors import SendEventsError
from stepwell.sending import (
    ATTEMPT_TIMEOUT_S,
    ATTEMPTS_DEFAULT,
    BACKOFF_BASE_S,
    BACKOFF_MAX_S,
    no_answer_reason,
)
from stepwell.wire.keys import bearer_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stepwell.sending import Pause

_NOBODY_WAITS = "no signal found"


async def post_signal(
    session: aiohttp.ClientSession,
    *,
    base_url: str,
    keys: Sequence[str],
    env: str | None,
    body: bytes,
    proxy: str | None = None,
    attempts: int = ATTEMPTS_DEFAULT,
    pause: Pause = asyncio.sleep,
    jitter: Callable[[float], float] = lambda most: random.uniform(0, most),
) -> bool:
    """Post a signal, up to `attempts` times.

    No answer and answers of 500 and more are tried again. A signal ends a wait once, so one whose
    first attempt was taken and not answered finds nobody with its second.

    Args:
        keys: Signing keys in the order of preference.
        body: `{"signal", "data"}` as JSON.
    Returns:
        Whether a run was waiting for it.
    Raises:
        SendEventsError: The server refused it, or could not be reached.
    """
    left: list[str | None] = [*keys] or [None]
    attempt = 0
    while True:
        try:
            status, text = await _post(
                session, base_url=base_url, key=left[0], env=env, body=body, proxy=proxy
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = no_answer_reason(error)
            failure = SendEventsError(f"the API at {base_url} could not be reached: {reason}")
        else:
            if status == 404 and _NOBODY_WAITS in text.lower():
                return False  # another 404 comes from something that knows of no signals
            if 200 <= status < 300:
                return True
            if status in (401, 403) and len(left) > 1:
                del left[0]  # and the same attempt with the next key
                continue
            failure = _refused(base_url, status, text)
            if status < 500:
                raise failure
        attempt += 1
        if attempt >= attempts:
            raise failure
        await pause(jitter(min(BACKOFF_BASE_S * 2 ** min(attempt - 1, 20), BACKOFF_MAX_S)))


async def _post(
    session: aiohttp.ClientSession,
    *,
    base_url: str,
    key: str | None,
    env: str | None,
    body: bytes,
    proxy: str | None,
) -> tuple[int, str]:
    headers = {"Content-Type": "application/json", "User-Agent": SDK_NAME}
    if key is not None:
        headers["Authorization"] = f"Bearer {bearer_token(key)}"
    if env is not None:
        headers["X-Inngest-Env"] = env
    async with session.post(
        f"{base_url}/v1/signals",
        data=body,
        headers=headers,
        # A redirect would take the signal, and the key, somewhere else.
        allow_redirects=False,
        proxy=proxy,
        timeout=aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT_S),
    ) as response:
        return response.status, await response.text(errors="replace")


def _refused(base_url: str, status: int, text: str) -> SendEventsError:
    hint = ""
    if 300 <= status < 400:
        hint = "; redirects are not followed, name the server itself as api_base_url="
    if status in (401, 403):
        hint = "; check the signing key (signing_key= or STEPWELL_SIGNING_KEY)"
    said = text[:200].strip() or "no reason given"
    return SendEventsError(f"the API at {base_url} answered {status}: {said}{hint}")
