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
    BACKOFF_BASE_S,
    BACKOFF_MAX_S,
    no_answer_reason,
)
from stepwell.wire.keys import bearer_token

if TYPE_CHECKING:
    from collections.abc import Sequence

_NOBODY_WAITS = 404


async def post_signal(
    session: aiohttp.ClientSession,
    *,
    base_url: str,
    keys: Sequence[str],
    body: bytes,
    proxy: str | None,
    attempts: int,
) -> bool:
    """Post a signal, up to `attempts` times.

    Args:
        keys: Signing keys in the order of preference.
        body: `{"signal", "data"}` as JSON.
    Returns:
        Whether a run was waiting for it.
    Raises:
        SendEventsError: The server refused it, or could not be reached.
    """
    left: list[str | None] = [*keys] or [None]
    failure = SendEventsError(f"the API at {base_url} was not asked")
    for attempt in range(attempts):
        headers = {"Content-Type": "application/json", "User-Agent": SDK_NAME}
        if left[0] is not None:
            headers["Authorization"] = f"Bearer {bearer_token(left[0])}"
        try:
            async with session.post(
                f"{base_url}/v1/signals",
                data=body,
                headers=headers,
                allow_redirects=False,
                proxy=proxy,
                timeout=aiohttp.ClientTimeout(total=ATTEMPT_TIMEOUT_S),
            ) as response:
                status, text = response.status, await response.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = no_answer_reason(error)
            failure = SendEventsError(f"the API at {base_url} could not be reached: {reason}")
        else:
            if status == _NOBODY_WAITS:
                return False
            if 200 <= status < 300:
                return True
            failure = SendEventsError(f"the API at {base_url} answered {status}: {text[:200]}")
            if status in (401, 403) and len(left) > 1:
                del left[0]
                continue
            if status < 500:
                raise failure
        if attempt + 1 < attempts:
            delay_s = min(BACKOFF_BASE_S * 2 ** min(attempt, 20), BACKOFF_MAX_S)
            await asyncio.sleep(random.uniform(0, delay_s))
    raise failure
