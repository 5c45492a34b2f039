"""Hand-written bytes equal what the libraries write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode

from stepwell.server.gateway import frames
from stepwell.wire.connect import ConnectMessage, Kind, WorkerReplyAckData


def test_the_hello_is_zero_bytes_long() -> None:
    assert frames.envelope(Kind.GATEWAY_HELLO) == b""


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000])
def test_an_envelope_is_what_protobuf_writes(kind: Kind, size: int) -> None:
    payload = b"p" * size
    expected = ConnectMessage(kind=int(kind), payload=payload)  # type: ignore[arg-type]
    assert frames.envelope(kind, payload) == expected.SerializeToString()


@given(st.text(max_size=300))
def test_a_reply_ack_is_what_protobuf_writes(request_id: str) -> None:
    inner = WorkerReplyAckData(request_id=request_id).SerializeToString()
    expected = ConnectMessage(kind=int(Kind.WORKER_REPLY_ACK), payload=inner)  # type: ignore[arg-type]
    assert frames.reply_ack(request_id) == expected.SerializeToString()


@given(st.lists(st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 70_000]), max_size=4))
def test_messages_are_framed_as_websockets_does_it(sizes: list[int]) -> None:
    messages = [b"m" * size for size in sizes]
    expected = b"".join(Frame(Opcode.BINARY, message).serialize(mask=False) for message in messages)
    assert frames.websocket_frames(messages) == expected


def test_control_frames_are_framed_as_websockets_does_it() -> None:
    close = Close(1001, "connect_gateway_closing").serialize()
    assert frames.close_frame(1001, "connect_gateway_closing") == Frame(
        Opcode.CLOSE, close
    ).serialize(mask=False)
    assert frames.pong_frame(b"x" * 125) == Frame(Opcode.PONG, b"x" * 125).serialize(mask=False)
