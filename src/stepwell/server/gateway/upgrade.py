"""What the gateway's port answers to an HTTP request: a WebSocket for workers, probes for others.

Source: docs/reference/wire/connect.md, "transport" and "other HTTP".
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

import msgspec

from stepwell.wire.connect import SUBPROTOCOL

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_PATH = "/v0/connect"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An ordinary HTTP answer, in text."""

    status: HTTPStatus
    text: str
    headers: dict[str, str] = {}


class Upgrade(msgspec.Struct, frozen=True, kw_only=True):
    """Make it a WebSocket. `subprotocol` is None if the client offers none that we speak."""

    subprotocol: str | None


Decision: TypeAlias = Answer | Upgrade


def decide(path: str, headers: Mapping[str, str], *, draining: bool) -> Decision:
    """Answer a GET request, given with its headers under case-insensitive names."""
    match path.partition("?")[0]:
        case "/v0/connect":
            return _connect(headers)
        case "/v0/":
            return Answer(status=HTTPStatus.OK, text=".")
        case "/ready" if draining:
            return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, text="draining")
        case "/ready":
            return Answer(status=HTTPStatus.OK, text="ready")
    return Answer(
        status=HTTPStatus.NOT_FOUND, text=f"nothing is here; workers connect at {CONNECT_PATH}"
    )


def peer_address(headers: Mapping[str, str], socket_address: str) -> str:
    """Where the worker is, for people to read: what proxies say of it, else the socket's peer."""
    forwarded = headers.get("x-forwarded-for", "").partition(",")[0].strip()
    return headers.get("x-real-ip", "").strip() or forwarded or socket_address


def wants_upgrade(headers: Mapping[str, str]) -> bool:
    """Whether the request asks for a WebSocket."""
    connection = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    return headers.get("upgrade", "").strip().lower() == "websocket" and "upgrade" in connection


def _connect(headers: Mapping[str, str]) -> Decision:
    origin = headers.get("origin")
    if origin is not None and not _same_host(origin, headers.get("host", "")):
        return Answer(
            status=HTTPStatus.FORBIDDEN,
            text="the Origin is another host: browsers' pages may not connect here",
        )
    if not wants_upgrade(headers):
        return Answer(
            status=HTTPStatus.UPGRADE_REQUIRED,
            text="this is a WebSocket: workers connect here",
            headers={"Upgrade": "websocket"},
        )
    offered = [word.strip() for word in headers.get("sec-websocket-protocol", "").split(",")]
    return Upgrade(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)


def _same_host(origin: str, host: str) -> bool:
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # an address in brackets that is none
        return False
