"""Words for errors of classes that nobody can foresee."""

from __future__ import annotations

import pytest

from stepwell.error_text import TEXT_BYTES_MAX, message_of, sendable


class Unspeakable(Exception):
    """Its text cannot be had, for whatever reason it is given."""

    def __str__(self) -> str:
        raise self.args[0]


def test_text_stays_as_it_is() -> None:
    assert message_of(ValueError("häh? 👍")) == "häh? 👍"


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert message_of(ValueError("file \udcff is bad")) == "file ? is bad"


@pytest.mark.parametrize("letter", ["x", "ä", "👍"])
def test_text_is_bounded_in_bytes_and_whole_characters(letter: str) -> None:
    text = sendable(letter * 200_000)

    assert TEXT_BYTES_MAX - 4 < len(text.encode()) <= TEXT_BYTES_MAX + 4
    assert set(text.removesuffix("\n...")) == {letter}


@pytest.mark.parametrize("why", [RuntimeError("no"), SystemExit(3), GeneratorExit()])
def test_text_that_cannot_be_had_is_replaced(why: BaseException) -> None:
    assert type(why).__name__ in message_of(Unspeakable(why))


def test_interrupt_by_the_user_is_let_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        message_of(Unspeakable(KeyboardInterrupt()))
