"""Bytes on the socket: the message envelope, and WebSocket frames from server to worker.

Both are written by hand because they are the hottest bytes of the server: an envelope is two
small fields, a server's frame has no mask, and all frames of one turn of the loop leave in one
write. Source: docs/reference/wire/connect.md, "envelope"; RFC 6455 section 5.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.wire.connect import GatewayCheckpointAckData, Kind, varint

if TYPE_CHECKING:
    from collections.abc import Iterable

_BINARY = b"\x82"  # FIN and opcode 2


def envelope(kind: Kind, payload: bytes = b"") -> bytes:
    """Serialise a `ConnectMessage`. Kind 0 without payload is zero bytes long: the HELLO."""
    head = _HEADS[kind]
    return b"".join((head, b"\x12", varint(len(payload)), payload)) if payload else head


def reply_ack(request_id: str) -> bytes:
    """Serialise the envelope of a `WorkerReplyAckData`."""
    raw = request_id.encode()
    if not raw:
        return _REPLY_ACK_HEAD
    inner = b"\x0a" + varint(len(raw)) + raw
    return b"".join((_REPLY_ACK_HEAD, b"\x12", varint(len(inner)), inner))


def checkpoint_ack(request_id: str, seq: int, refusal: str) -> bytes:
    """Serialise the envelope of a `GatewayCheckpointAckData`."""
    ack = GatewayCheckpointAckData(request_id=request_id, seq=seq, refusal=refusal)
    return envelope(Kind.GATEWAY_CHECKPOINT_ACK, ack.SerializeToString())


def websocket_frames(messages: Iterable[bytes]) -> bytes:
    """Write each message as one unmasked binary frame, all in one buffer."""
    parts: list[bytes] = []
    for message in messages:
        size = len(message)
        if size < 126:
            parts.append(_SHORT_HEADS[size])
        elif size < 65_536:
            parts.append(b"\x82\x7e" + size.to_bytes(2, "big"))
        else:
            parts.append(b"\x82\x7f" + size.to_bytes(8, "big"))
        parts.append(message)
    return b"".join(parts)


def close_frame(code: int, reason: str) -> bytes:
    """Write a close frame; a control frame carries at most 125 bytes."""
    payload = code.to_bytes(2, "big") + reason.encode()
    assert len(payload) <= 125, "close reasons are short"
    return b"\x88" + bytes([len(payload)]) + payload


PING_FRAME = b"\x89\x00"


def pong_frame(payload: bytes) -> bytes:
    """Write the answer to a ping, which carries at most 125 bytes too."""
    return b"\x8a" + bytes([len(payload)]) + payload


_SHORT_HEADS = [_BINARY + bytes([size]) for size in range(126)]
_HEADS = {kind: b"\x08" + varint(kind) if kind else b"" for kind in Kind}
_REPLY_ACK_HEAD = _HEADS[Kind.WORKER_REPLY_ACK]
