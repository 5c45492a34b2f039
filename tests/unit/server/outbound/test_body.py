from __future__ import annotations

import gzip
import zlib

import pytest

from stepwell.errors import OutboundError
from stepwell.server.outbound.body import Intake

PLAIN = b'{"a": 1}' * 100


def whole(encoding: str, packed: bytes, *, bytes_max: int = 10_000, piece: int = 7) -> bytes:
    intake = Intake(encoding, bytes_max)
    for at in range(0, len(packed), piece):
        intake.feed(packed[at : at + piece])
    return intake.whole()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("", PLAIN),
        ("identity", PLAIN),
        ("gzip", gzip.compress(PLAIN, mtime=0)),
        ("GZIP", gzip.compress(PLAIN, mtime=0)),
        ("deflate", zlib.compress(PLAIN)),
    ],
)
def test_a_body_comes_out_as_it_was(encoding: str, packed: bytes) -> None:
    assert whole(encoding, packed) == PLAIN
    assert whole(encoding, packed, bytes_max=len(PLAIN)) == PLAIN


def test_no_body_is_empty() -> None:
    assert whole("", b"") == b""
    assert whole("gzip", b"") == b""


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_body_beyond_the_bound_is_refused(encoding: str) -> None:
    packed = PLAIN if not encoding else gzip.compress(PLAIN, mtime=0)
    with pytest.raises(OutboundError) as refused:
        whole(encoding, packed, bytes_max=len(PLAIN) - 1)
    assert refused.value.code == "outbound_too_large"


def test_a_small_body_does_not_become_a_huge_one() -> None:
    bomb = gzip.compress(bytes(200 * 2**20))
    intake = Intake("gzip", 1_000)
    with pytest.raises(OutboundError) as refused:
        intake.feed(bomb)
    assert refused.value.code == "outbound_too_large"


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", PLAIN),
        ("gzip", gzip.compress(PLAIN, mtime=0)[:-20]),
        ("br", b"x"),
        ("gzip, gzip", b"x"),
        ("zstd", b"x"),
    ],
)
def test_what_cannot_be_unpacked_is_refused(encoding: str, packed: bytes) -> None:
    with pytest.raises(OutboundError) as refused:
        whole(encoding, packed)
    assert refused.value.code == "outbound_answer_invalid"
