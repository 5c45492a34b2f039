"""What the handler wants done before a request can be answered."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.function import Function
from stepwell.wire.calls import Call


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks.

    Attributes:
        key: The signing key that verified the request; None if none did. The answer is signed
            with it.
        is_trusted: It may call functions: it is verified, or this is development.
    """

    key: str | None
    is_trusted: bool


class CallOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Run a function.

    Attributes:
        step_id: The step that the call is for, as the URL names it; None if it names none.
        passed_on: Headers that go back as they came.
    """

    caller: Caller
    function: Function[Any]
    call: Call
    step_id: str | None
    passed_on: dict[str, str]

    @property
    def function_slug(self) -> str:
        """The function's id on the server."""
        return self.function.id

    @property
    def run_id(self) -> str:
        return self.call.ctx.run_id


class SyncOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Register at the server: `POST {api}/fn/register`.

    Attributes:
        deploy_id: Goes along as a parameter.
        headers: All but the credential.
    """

    caller: Caller
    deploy_id: str | None
    headers: dict[str, str]
    body: bytes


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """What the server answered to a registration."""

    status: int
    body: bytes
