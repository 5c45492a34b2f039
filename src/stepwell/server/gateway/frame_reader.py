"""WebSocket frames from worker to server: bytes in, whole messages and what else came out.

Strict: what RFC 6455 forbids is refused, with the reason that the close frame gives, and nothing
that follows is read. A frame is judged by its head, before a byte of its payload is kept, so no
more is ever held than a message may have. A payload that comes in pieces is unmasked piece by
piece and kept in one buffer, as are fragments, however small they are.

Nearly all that comes is a short message, whole in one read; that way is as short as Python can
make it. Road not taken: `websockets` without its connection, which takes three times as long for
a message (docs/explanation/performance.md, "reading frames").
Source: RFC 6455 sections 5 and 7.4; docs/reference/wire/connect.md, "transport".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

try:
    from websockets.speedups import apply_mask
except ImportError:  # a wheel without compiled parts
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOL_ERROR = 1002
INVALID_DATA = 1007


class Ping(msgspec.Struct, frozen=True):
    """To be answered by a pong with the same payload."""

    payload: bytes


class Pong(msgspec.Struct, frozen=True):
    """The peer answered a ping, or says that it lives."""


class Closed(msgspec.Struct, frozen=True):
    """The peer closes; nothing is read after it. The code is 0 if the frame names none."""

    code: int
    reason: str


class Broken(msgspec.Struct, frozen=True):
    """The peer broke the rules; nothing is read after it."""

    code: int
    text: str


class TooLarge(msgspec.Struct, frozen=True):
    """A message over the limit came, or is coming; nothing is read after it."""


class TextBegan(msgspec.Struct, frozen=True):
    """The peer sends a text message; nothing is read after it."""


RareEvent: TypeAlias = Ping | Pong | Closed | Broken | TooLarge | TextBegan

Event: TypeAlias = bytes | RareEvent
"""Bytes are a whole binary message."""


class FrameReader:
    """What the peer of one connection sends.

    Attributes:
        message_bytes_max: May be set at any time, also while events are taken: the next frame is
            judged by it.
    """

    __slots__ = (
        "_control",
        "_first",
        "_is_between",
        "_is_over",
        "_mask",
        "_message",
        "_missing",
        "_rest",
        "message_bytes_max",
    )

    def __init__(self, message_bytes_max: int) -> None:
        self.message_bytes_max = message_bytes_max
        self._is_over = False
        self._rest = b""  # the head of a frame, as far as it came
        self._first = 0  # the first byte of the frame whose payload is coming
        self._missing = 0  # of that payload
        self._mask = b""  # turned to where the payload stands
        self._control = bytearray()  # the payload of a control frame
        self._message = bytearray()  # in fragments, or in pieces
        self._is_between = True  # not within a message in fragments

    @property
    def is_over(self) -> bool:
        """Whether nothing is read any more."""
        return self._is_over

    @property
    def held_bytes(self) -> int:
        """What is kept until more comes."""
        return len(self._rest) + len(self._control) + len(self._message)

    def end(self) -> None:
        """Read nothing more, and forget what is not whole. Idempotent."""
        self._is_over = True
        self._rest = b""
        self._control.clear()
        self._message.clear()

    def read(self, data: bytes) -> Iterator[Event]:
        """Give what came with `data`. Take all of it before the next call."""
        if self._is_over:
            return
        at = 0
        if self._missing:
            at = min(self._missing, len(data))
            self._take(memoryview(data)[:at])
            if self._missing:
                return
            event = self._whole()
            if event is not None:
                yield event
        elif self._rest:
            data = self._rest + data
            self._rest = b""
        end = len(data)
        while end - at > 1 and not self._is_over:
            size = data[at + 1] - 128
            if size < 126:  # less than 0 without a mask
                start, least = at + 6, 0
            elif size == 126:
                start, least = at + 8, 126
            else:
                start, least = at + 14, 65_536
            if start <= end:
                if least:
                    size = int.from_bytes(data[at + 2 : start - 4], "big")
                after = start + size
                if (
                    after <= end
                    and data[at] == _WHOLE_BINARY
                    and least <= size <= self.message_bytes_max
                    and self._is_between
                ):
                    yield apply_mask(data[start:after], data[start - 4 : start])
                    at = after
                    continue
            refusal = self._refusal(data[at], data[at + 1])
            if refusal is None and start <= end:
                refusal = self._refusal_of_size(data[at], size, least)
            if refusal is not None:
                self.end()
                yield refusal
                return
            if start > end:
                break
            self._first, self._missing, self._mask = data[at], size, data[start - 4 : start]
            at = min(after, end)
            self._take(memoryview(data)[start:at])
            if self._missing:
                return
            event = self._whole()
            if event is not None:
                yield event
        if not self._is_over:
            self._rest = data[at:]

    def _take(self, piece: memoryview) -> None:
        """Keep a piece of a payload."""
        kept = self._control if self._first & _CONTROL else self._message
        kept += apply_mask(piece, self._mask)
        self._missing -= len(piece)
        turn = len(piece) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]

    def _whole(self) -> Event | None:
        """The frame that was begun is whole: give what it ends."""
        if not self._first & _CONTROL:
            self._is_between = self._first >= _FIN
            return self._joined(self._message) if self._is_between else None
        payload = self._joined(self._control)
        match self._first & _OPCODE:
            case 8:
                self.end()
                return _closed(payload)
            case 9:
                return Ping(payload)
            case _:
                return Pong()

    @staticmethod
    def _joined(kept: bytearray) -> bytes:
        whole = bytes(kept)
        kept.clear()
        return whole

    def _refusal(self, first: int, second: int) -> Event | None:
        """What is wrong with a frame, by the first two bytes of its head."""
        if first & _RESERVED:
            return _broken("a reserved bit is set, and no extension is in use")
        if second < _MASKED:
            return _broken("a frame of the worker has no mask")
        opcode = first & _OPCODE
        if opcode not in (0, 1, 2, 8, 9, 10):
            return _broken(f"there is no opcode {opcode}")
        if opcode & _CONTROL:
            if first < _FIN:
                return _broken("a control frame is in fragments")
            if second - _MASKED > 125:
                return _broken("a control frame has more than 125 bytes")
        elif opcode == 0:
            if self._is_between:
                return _broken("a message cannot begin with a continuation")
        elif not self._is_between:
            return _broken("a message began before the last one ended")
        elif opcode == 1:
            return TextBegan()
        return None

    def _refusal_of_size(self, first: int, size: int, least: int) -> Event | None:
        if size < least:
            return _broken("a length is not written in the shortest way")
        if size >= 2**63:
            return _broken("a length has its first bit set")
        if not first & _CONTROL and len(self._message) + size > self.message_bytes_max:
            return TooLarge()
        return None


_FIN = 0x80
_RESERVED = 0x70
_OPCODE = 0x0F
_CONTROL = 0x08
_MASKED = 0x80
_WHOLE_BINARY = 0x82


def _broken(text: str) -> Broken:
    return Broken(PROTOCOL_ERROR, text)


def _closed(payload: bytes) -> Closed | Broken:
    if not payload:
        return Closed(0, "")
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (
        1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code < 5000
    ):
        return _broken("a close frame has a code that nobody may send")
    try:
        return Closed(code, payload[2:].decode())
    except UnicodeDecodeError:
        return Broken(INVALID_DATA, "the reason of a close frame is no UTF-8")
