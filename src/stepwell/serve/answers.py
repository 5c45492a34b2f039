"""Answers: their headers, their signature, and what may be said to whom.

Someone who is not trusted learns that an SDK is here, and why the request was refused; nothing of
the app, its environment or its keys.
Source: docs/reference/wire/http-sdk.md, "answers".
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

import msgspec

from stepwell.config import SDK_NAME
from stepwell.execution import EXECUTION_VERSION
from stepwell.serve.messages import Response
from stepwell.wire.signing import HEADER, sign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepwell.config import ClientSettings
    from stepwell.errors import StepwellError
    from stepwell.outcome import Outcome
    from stepwell.serve.orders import Caller, CallOrder

HANDLED: Final = "X-Inngest-SDK-Handled"
PASSED_ON: Final = ("traceparent", "tracestate")
_PASSED_CHARS_MAX = 1_024
_VISIBLE = re.compile(r"[\x20-\x7e]*")

_PLATFORMS = (
    ("VERCEL", "1", "vercel"),
    ("NETLIFY", "true", "netlify"),
    ("CF_PAGES", "1", "cloudflare-pages"),
    ("RENDER", "true", "render"),
    ("RAILWAY_ENVIRONMENT", None, "railway"),
)

_ENCODER = msgspec.json.Encoder()


class Answers:
    """Makes the answers of one app.

    Args:
        framework: What the program is built on.
    """

    def __init__(self, settings: ClientSettings, *, framework: str) -> None:
        self._headers = {
            "X-Inngest-SDK": SDK_NAME,
            "X-Inngest-Framework": framework,
            "X-Inngest-Expected-Server-Kind": kind_of(settings),
            "X-Inngest-Req-Version": str(EXECUTION_VERSION),
            **environment_headers(settings),
        }

    def refusal(self, error: StepwellError, **headers: str) -> Response:
        """Says what was wrong with a request, to anybody."""
        return Response(status=error.status, headers={**_BARE, **headers}, body=error_body(error))

    def to(
        self,
        caller: Caller,
        *,
        status: int,
        body: bytes,
        now_s: int,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Answers somebody; signed with the key that verified the request, if one did."""
        all_headers = {**_BARE, **(headers or {})}
        if caller.is_trusted:
            all_headers |= self._headers
        if caller.key is not None:
            all_headers[HEADER] = sign(body, key=caller.key, unix_s=now_s)
        return Response(status=status, headers=all_headers, body=body)

    def outcome(self, order: CallOrder, outcome: Outcome, *, now_s: int) -> Response:
        """Answers a call with what it ended with."""
        headers = dict(order.passed_on)
        match outcome.kind:
            case "result":
                status = 200
            case "ops":
                status = 206
                if outcome.no_retry:
                    headers["X-Inngest-No-Retry"] = "true"
            case "error":
                status = 400 if outcome.no_retry else 500
                headers["X-Inngest-No-Retry"] = "true" if outcome.no_retry else "false"
        if outcome.retry_after is not None:
            headers["Retry-After"] = outcome.retry_after
        return self.to(order.caller, status=status, body=outcome.body, now_s=now_s, headers=headers)


def error_body(error: StepwellError) -> bytes:
    """An error as JSON: its code, its message and its name, and no stack."""
    return _ENCODER.encode(
        {"code": error.code, "message": error.message, "name": type(error).__name__}
    )


def kind_of(settings: ClientSettings) -> str:
    """The kind of server that this app belongs to."""
    return "cloud" if settings.is_production else "dev"


def environment_headers(settings: ClientSettings) -> dict[str, str]:
    """Where the program runs, as far as that is known and can stand in a header."""
    named = {"X-Inngest-Env": settings.env, "X-Inngest-Platform": platform_of(os.environ)}
    return {name: text for name, text in named.items() if text and _VISIBLE.fullmatch(text)}


def platform_of(environ: Mapping[str, str]) -> str | None:
    """The hosting platform, if it says so."""
    for name, value, platform in _PLATFORMS:
        seen = environ.get(name)
        if seen and value in (None, seen):
            return platform
    return None


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a call that its answer carries back."""
    return {
        name: value
        for name in PASSED_ON
        if (value := headers.get(name))
        and len(value) <= _PASSED_CHARS_MAX
        and _VISIBLE.fullmatch(value)
    }


_BARE: Final = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",  # a signed GET must not be answered again to somebody else
    HANDLED: "true",
}
