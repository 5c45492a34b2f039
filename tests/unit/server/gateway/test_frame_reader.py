"""What the worker's bytes mean: right frames in any pieces, and wrong ones of every kind."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets import utils
from websockets.frames import Frame, Opcode

from stepwell.server.gateway import frame_reader
from stepwell.server.gateway.frame_reader import (
    Broken,
    Closed,
    Event,
    FrameReader,
    Ping,
    Pong,
    TextBegan,
    TooLarge,
)

LIMIT = 100_000
MASK = b"\x37\xfa\x21\x3d"


def frame(first: int, payload: bytes = b"", *, mask: bytes = MASK) -> bytes:
    """A masked frame with any first byte, its length in the shortest way."""
    return head(first, len(payload), mask=mask) + masked(payload, mask)


def head(first: int, size: int, *, mask: bytes = MASK) -> bytes:
    if size < 126:
        return bytes([first, 0x80 | size]) + mask
    if size < 65_536:
        return struct.pack("!BBH", first, 0xFE, size) + mask
    return struct.pack("!BBQ", first, 0xFF, size) + mask


def masked(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def read(*pieces: bytes, limit: int = LIMIT) -> list[Event]:
    reader = FrameReader(limit)
    return [event for piece in pieces for event in reader.read(piece)]


def is_broken(event: Event) -> bool:
    return isinstance(event, Broken) and event.code == 1002 and 0 < len(event.text) <= 123


# --- what is right ---


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, 126, 127, 65_535, 65_536, LIMIT])
def test_a_message_of_any_size_is_read(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    assert read(frame(0x82, payload)) == [payload]


@pytest.mark.parametrize("mask", [bytes(4), b"\xff\xff\xff\xff", b"\x01\x02\x03\x04"])
def test_any_mask_is_removed(mask: bytes) -> None:
    payload = bytes(range(256)) * 3
    whole = frame(0x82, payload, mask=mask)
    assert read(whole) == [payload]
    assert read(whole[:9], whole[9:14], whole[14:]) == [payload]


def test_what_another_library_writes_is_read() -> None:
    frames = [
        Frame(Opcode.BINARY, b"one"),
        Frame(Opcode.BINARY, b"tw", fin=False),
        Frame(Opcode.PING, b"p" * 125),
        Frame(Opcode.CONT, b"", fin=False),
        Frame(Opcode.PONG, b"ignored"),
        Frame(Opcode.CONT, b"o"),
        Frame(Opcode.BINARY, b"t" * 70_000),
        Frame(Opcode.CLOSE, b"\x03\xe8WORKER_SHUTDOWN"),
    ]
    stream = b"".join(each.serialize(mask=True) for each in frames)
    assert read(stream) == [
        b"one",
        Ping(b"p" * 125),
        Pong(),
        b"two",
        b"t" * 70_000,
        Closed(1000, "WORKER_SHUTDOWN"),
    ]


STREAM = b"".join(
    (
        frame(0x82, b""),
        frame(0x82, b"short"),
        frame(0x82, b"m" * 126),
        frame(0x02, b"in "),
        frame(0x89, b"are you there"),
        frame(0x00, b""),
        frame(0x8A, b""),
        frame(0x80, b"parts"),
        frame(0x82, b"last"),
        frame(0x88, b"\x0b\xb8bye"),
    )
)
EVENTS: list[Event] = [
    b"",
    b"short",
    b"m" * 126,
    Ping(b"are you there"),
    Pong(),
    b"in parts",
    b"last",
    Closed(3000, "bye"),
]


def test_a_stream_is_read_alike_wherever_it_is_cut_in_two() -> None:
    assert read(STREAM) == EVENTS
    for cut in range(len(STREAM) + 1):
        assert read(STREAM[:cut], STREAM[cut:]) == EVENTS, cut


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7])
def test_and_into_pieces_of_any_size(step: int) -> None:
    pieces = [STREAM[at : at + step] for at in range(0, len(STREAM), step)]
    assert read(*pieces) == EVENTS


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """A right stream, and what it says."""
    stream, events = b"", list[Event]()
    masks = st.binary(min_size=4, max_size=4)
    sizes = st.sampled_from([0, 1, 3, 125, 126, 300, 65_535, 65_536])
    for _ in range(draw(st.integers(0, 5))):
        payload = draw(st.randoms(use_true_random=False)).randbytes(draw(sizes))
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
        for place, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(payload)], strict=True)):
            first = (0x80 if place == len(cuts) else 0) | (0 if place else 2)
            stream += frame(first, payload[start:end], mask=draw(masks))
            if place < len(cuts) and draw(st.booleans()):
                stream += frame(0x89, b"between", mask=draw(masks))
                events.append(Ping(b"between"))
        events.append(payload)
    return stream, events


@given(conversations(), st.data())
def test_how_a_stream_is_cut_changes_nothing(
    conversation: tuple[bytes, list[Event]], data: st.DataObject
) -> None:
    stream, events = conversation
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    assert read(*pieces) == events


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_bytes_make_it_fail_and_their_cuts_change_nothing(pieces: list[bytes]) -> None:
    reader = FrameReader(1_000)
    events = [event for piece in pieces for event in reader.read(piece)]
    assert events == read(b"".join(pieces), limit=1_000)
    ends = [isinstance(event, Closed | Broken | TooLarge | TextBegan) for event in events]
    assert ends.count(True) == reader.is_over
    assert True not in ends[:-1]


def test_it_reads_without_compiled_parts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_reader, "apply_mask", utils.apply_mask)
    assert read(STREAM) == EVENTS
    assert read(*(bytes([byte]) for byte in STREAM)) == EVENTS


# --- what is wrong ---

CLOSE_CODES_NOBODY_SENDS = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535]

HOSTILE = {
    "a reserved bit": frame(0xC2, b"a"),
    "another": frame(0xA2, b"a"),
    "the third": frame(0x92, b"a"),
    "one in a control frame": frame(0xC9),
    "one in a continuation": frame(0x02, b"a") + frame(0xC0, b"b"),
    **{f"opcode {code}": frame(0x80 | code) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "no mask": b"\x82\x05hello",
    "no mask, empty": b"\x82\x00",
    "no mask, 16 bits": b"\x82\x7e\x00\x80" + bytes(128),
    "no mask, 64 bits": b"\x82\x7f" + bytes(5) + b"\x01\x00\x00",
    "a ping of 126 bytes": frame(0x89, b"p" * 126),
    "a ping of 64 KiB": head(0x89, 65_536),
    "a close of 16 KiB": head(0x88, 16_384),
    "a small ping that says it is large": b"\x89\xfe\x00\x01" + MASK + b"p",
    "a ping in fragments": frame(0x09, b"p"),
    "a close in fragments": frame(0x08),
    "a continuation of nothing": frame(0x80, b"a"),
    "the first part of one": frame(0x00, b"a"),
    "a message in a message": frame(0x02, b"a") + frame(0x82, b"b"),
    "a text in a message": frame(0x02, b"a") + frame(0x81, b"b"),
    "125 in 16 bits": b"\x82\xfe\x00\x7d" + MASK + bytes(125),
    "0 in 16 bits": b"\x82\xfe\x00\x00" + MASK,
    "65,535 in 64 bits": b"\x82\xff" + (65_535).to_bytes(8, "big") + MASK,
    "0 in 64 bits": b"\x82\xff" + bytes(8) + MASK,
    "2**63": b"\x82\xff\x80" + bytes(7) + MASK,
    "2**64 - 1": b"\x82\xff" + b"\xff" * 8 + MASK,
    "half a close code": frame(0x88, b"\x03"),
    **{
        f"close code {code}": frame(0x88, code.to_bytes(2, "big") + b"why")
        for code in CLOSE_CODES_NOBODY_SENDS
    },
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_what_breaks_the_rules_is_refused_and_ends_all_reading(hostile: bytes) -> None:
    before, after = frame(0x82, b"before"), frame(0x82, b"after") + frame(0x88)
    for pieces in (
        [before + hostile + after],
        [bytes([byte]) for byte in before + hostile + after],
    ):
        reader = FrameReader(LIMIT)
        events = [event for piece in pieces for event in reader.read(piece)]
        assert events[0] == b"before"
        assert is_broken(events[1])
        assert len(events) == 2
        assert reader.is_over
        assert reader.held_bytes == 0


@pytest.mark.parametrize(
    "two_bytes", [b"\xc2\x81", b"\x82\x01", b"\x82\x7e", b"\x83\x80", b"\x89\xfe", b"\x09\x80"]
)
def test_two_bytes_are_enough_to_be_refused_by(two_bytes: bytes) -> None:
    (event,) = read(two_bytes)
    assert is_broken(event)


@pytest.mark.parametrize("first", [0x81, 0x01])
def test_a_text_is_refused_by_its_head(first: int) -> None:
    assert read(head(first, 50_000)[:2]) == [TextBegan()]
    assert read(frame(first, b"{}") + frame(0x82, b"after")) == [TextBegan()]


def test_a_reason_that_is_no_text_has_a_code_of_its_own() -> None:
    (event,) = read(frame(0x88, b"\x03\xe8\xff\xfe"))
    assert isinstance(event, Broken)
    assert event.code == 1007


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4001, 4999])
def test_a_close_code_that_may_be_sent_is_taken(code: int) -> None:
    assert read(frame(0x88, code.to_bytes(2, "big"))) == [Closed(code, "")]


def test_a_close_without_a_code_has_none() -> None:
    assert read(frame(0x88) + frame(0x82, b"after")) == [Closed(0, "")]


# --- bounds ---


@pytest.mark.parametrize("size", [LIMIT + 1, 2**32, 2**63 - 1])
def test_a_message_over_the_limit_is_refused_by_its_head(size: int) -> None:
    reader = FrameReader(LIMIT)
    assert list(reader.read(head(0x82, size))) == [TooLarge()]
    assert list(reader.read(bytes(LIMIT))) == []
    assert reader.held_bytes == 0


def test_fragments_count_together() -> None:
    reader = FrameReader(LIMIT)
    assert list(reader.read(frame(0x02, bytes(60_000)))) == []
    assert reader.held_bytes == 60_000
    assert list(reader.read(head(0x80, 40_001))) == [TooLarge()]
    assert reader.held_bytes == 0
    assert read(frame(0x02, bytes(60_000)), frame(0x80, bytes(40_000))) == [bytes(LIMIT)]


def test_the_limit_may_change_between_two_messages_of_one_read() -> None:
    reader = FrameReader(10)
    events = []
    for event in reader.read(frame(0x82, b"hello") + frame(0x82, b"x" * 1_000) * 2):
        events.append(event)
        reader.message_bytes_max = 1_000
    assert events == [b"hello", b"x" * 1_000, b"x" * 1_000]


def test_no_more_is_held_than_came_of_one_message() -> None:
    reader = FrameReader(LIMIT)
    whole = frame(0x82, bytes(LIMIT))
    for at in range(0, len(whole) - 1_000, 1_000):
        assert list(reader.read(whole[at : at + 1_000])) == []
        assert reader.held_bytes <= at + 1_000
    assert list(reader.read(whole[-(len(whole) % 1_000 or 1_000) :])) == [bytes(LIMIT)]
    assert reader.held_bytes == 0


def test_empty_fragments_take_no_room() -> None:
    reader = FrameReader(LIMIT)
    assert list(reader.read(frame(0x02, b"abc") + frame(0x00) * 10_000)) == []
    assert reader.held_bytes == 3
    assert list(reader.read(frame(0x80, b"d"))) == [b"abcd"]


def test_one_that_was_ended_reads_nothing_and_holds_nothing() -> None:
    for cut in (1, 5, 8, 50):
        reader = FrameReader(LIMIT)
        whole = frame(0x82, bytes(100))
        assert list(reader.read(whole[:cut])) == []
        assert reader.held_bytes > 0 or cut == 8  # a whole head is no payload
        reader.end()
        reader.end()
        assert reader.held_bytes == 0
        assert list(reader.read(whole[cut:])) == []


def test_one_that_is_ended_between_two_messages_gives_no_more() -> None:
    reader = FrameReader(LIMIT)
    events = []
    for event in reader.read(frame(0x82, b"one") + frame(0x82, b"two")):
        events.append(event)
        reader.end()
    assert events == [b"one"]
    assert reader.held_bytes == 0
