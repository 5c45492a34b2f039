"""A served app, and the requests that a server makes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

import stepwell
from stepwell.serve.handler import ServedApp
from stepwell.serve.messages import Request, Response, read_query
from stepwell.serve.options import ServeOptions
from stepwell.serve.shell import Shell
from stepwell.wire.json import canonical
from stepwell.wire.signing import sign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.function import Function

KEY = "signkey-prod-0123456789abcdef0123456789abcdef"
FALLBACK = "signkey-prod-fedcba9876543210fedcba9876543210"
STRANGER = "signkey-prod-00000000000000000000000000000000"
NOW_S = 1_760_000_000
EVENT = {"data": {"total": 12}, "id": "01K7T0BX000000000000000000", "name": "order/paid",
         "ts": 1_760_000_000_000, "user": {}}  # fmt: skip


def client(
    *, is_production: bool = False, fallback: bool = False, **options: Any
) -> stepwell.Client:
    """The app `shop`; in production it has a signing key."""
    options.setdefault("api_base_url", "http://127.0.0.1:9")
    if is_production:
        options.setdefault("signing_key", KEY)
    made = stepwell.Client(
        app_id="shop", is_production=is_production, event_key="secret-event-key", **options
    )
    if fallback:
        made.settings = msgspec.structs.replace(made.settings, signing_key_fallback=FALLBACK)
    return made


def ship(shop: stepwell.Client) -> Function[Any]:
    """The function of the example exchange: one step."""

    @shop.create_function(fn_id="ship", trigger=stepwell.TriggerEvent(event="order/paid"))
    async def ship(ctx: stepwell.Context) -> Any:
        async def charge() -> dict[str, str]:
            return {"charge": "ch_9"}

        return await ctx.step.run("charge-card", charge)

    return ship


def served(
    shop: stepwell.Client, functions: Sequence[Function[Any]] = (), **options: Any
) -> ServedApp:
    """The app as the handler has it."""
    return ServedApp(shop, functions or [ship(shop)], ServeOptions(framework="test", **options))


def shell(shop: stepwell.Client, *functions: Function[Any], **options: Any) -> Shell:
    """The app with what carries orders out."""
    return Shell(shop, functions or [ship(shop)], ServeOptions(framework="test", **options))


def respond(one: Shell, request: Request) -> Response:
    """The answer, on a loop."""
    return asyncio.run(one.respond(request))


def ask(
    method: str = "POST",
    *,
    body: bytes = b"",
    query: str = "",
    key: str | None = None,
    at_s: int = NOW_S,
    **headers: str,
) -> Request:
    """A request; signed if a key is given. Headers are spelt with underscores."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    if key is not None:
        form = canonical(body) if body else b""
        named["x-inngest-signature"] = sign(form, key=key, unix_s=at_s)
    return Request(
        method=method,
        origin="http://localhost:4000",
        path="/api/inngest",
        query=read_query(query),
        headers=named,
        body=body,
    )


def call_body(steps: dict[str, Any] | None = None, *, use_api: bool = False, **ctx: Any) -> bytes:
    """The body of a call."""
    given = {"attempt": 0, "disable_immediate_execution": False, "env": "", "fn_id": "f",
             "max_attempts": 3, "run_id": "01K7T0BZZZ0000000000000000",
             "stack": {"current": 0, "stack": list(steps or {})}, "step_id": "step",
             "use_api": use_api}  # fmt: skip
    body = {
        "ctx": given | ctx,
        "event": EVENT,
        "events": [EVENT],
        "steps": steps or {},
        "use_api": use_api,
        "version": -1,
    }
    return canonical(msgspec.json.encode(body))


def call(
    fn_id: str = "shop-ship", step_id: str = "step", *, key: str | None = None, **given: Any
) -> Request:
    """A call of a function."""
    body = given.pop("body", None)
    headers = {name: given.pop(name) for name in list(given) if name == "traceparent"}
    return ask(
        body=call_body(**given) if body is None else body,
        query=f"fnId={fn_id}&stepId={step_id}",
        key=key,
        **headers,
    )


def json(response: Response) -> Any:
    """The answer's body."""
    return msgspec.json.decode(response.body)
