"""What the gateway's port answers to an HTTP request: a WebSocket for workers, probes for others.

Source: docs/reference/wire/connect.md, "transport" and "other HTTP".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

import msgspec

from stepwell.wire.connect import SUBPROTOCOL

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_PATH = "/v0/connect"

_ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""


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
    """Answer a GET request, given with its headers under lower-case names."""
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


def agree(upgrade: Upgrade, headers: Mapping[str, str]) -> bytes | Answer:
    """The answer after which frames follow, unless the handshake is wrong in some way."""
    if headers.get("sec-websocket-version", "").strip() != "13":
        return Answer(
            status=HTTPStatus.BAD_REQUEST,
            text="the Sec-WebSocket-Version must be 13",
            headers={"Sec-WebSocket-Version": "13"},
        )
    key = headers.get("sec-websocket-key", "").strip()
    if not _is_key(key):
        return Answer(
            status=HTTPStatus.BAD_REQUEST, text="the Sec-WebSocket-Key is no key of 16 bytes"
        )
    accept = base64.b64encode(hashlib.sha1((key + _ACCEPT_GUID).encode()).digest()).decode()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
    ]
    if upgrade.subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {upgrade.subprotocol}")
    return _head(lines)


def serialise(answer: Answer) -> bytes:
    """Write an answer after which the connection ends."""
    text = answer.text.encode()
    lines = [
        f"HTTP/1.1 {answer.status} {answer.status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(text)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    return _head(lines) + text


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


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == 16
    except (binascii.Error, ValueError):  # the second: it has letters beyond ASCII
        return False


def _head(lines: list[str]) -> bytes:
    return "\r\n".join((*lines, "", "")).encode("latin-1")
