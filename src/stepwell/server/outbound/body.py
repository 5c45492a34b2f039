"""Reads an answer's body up to a bound, whatever it was packed into."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from stepwell.errors import OutboundError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

ACCEPT_ENCODING = "gzip"

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class Intake:
    """Gathers a body; unpacks it as it comes, so that a small one cannot become a huge one.

    Args:
        encoding: The answer's `Content-Encoding`, empty for none.
        bytes_max: Of the body, unpacked.
    Raises, from every method:
        OutboundError: `outbound_too_large`, `outbound_answer_invalid`.
    """

    def __init__(self, encoding: str, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._size = 0
        self._unpack = _decompressor(encoding)

    def feed(self, data: bytes) -> None:
        """The next bytes as they came over the connection."""
        if self._unpack is None:
            self._keep(data)
            return
        try:
            while data:
                self._keep(self._unpack.decompress(data, self._bytes_max - self._size + 1))
                data = self._unpack.unconsumed_tail
        except zlib.error as error:
            raise _broken(f"its body cannot be unpacked: {error}") from error

    def whole(self) -> bytes:
        """All of it; there is nothing more to come."""
        if self._unpack is not None and self._parts and not self._unpack.eof:
            raise _broken("its packed body ends too early")
        return b"".join(self._parts)

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._bytes_max:
            raise too_large(self._bytes_max)
        if data:
            self._parts.append(data)


async def read_body(
    chunks: AsyncIterable[bytes], *, encoding: str, length: int | None, bytes_max: int
) -> bytes:
    """Read a body.

    Args:
        length: What the answer says that the body has, before it is unpacked.
    Raises:
        OutboundError: As `Intake`.
    """
    if length is not None and length > bytes_max:
        raise too_large(bytes_max)
    intake = Intake(encoding, bytes_max)
    async for chunk in chunks:
        intake.feed(chunk)
    return intake.whole()


def too_large(bytes_max: int) -> OutboundError:
    """The error for a body beyond the bound."""
    return OutboundError(
        f"the answer's body is larger than {bytes_max} bytes", code="outbound_too_large"
    )


def _decompressor(encoding: str) -> zlib._Decompress | None:
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return zlib.decompressobj(_GZIP_OR_ZLIB)
        case other:
            raise _broken(f"its body is packed with {other[:40]!r}, which was not asked for")


def _broken(text: str) -> OutboundError:
    return OutboundError(f"the answer is not usable: {text}", code="outbound_answer_invalid")
