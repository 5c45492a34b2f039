"""Session tokens open one connection for five minutes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.server.gateway.token import (
    SESSION_TOKEN_MS,
    mint_session_token,
    session_token_valid,
)

SECRET = b"s" * 32
NOW_MS = 1_790_000_000_000


def valid(token: str, *, connection_id: str = "one", now_ms: int = NOW_MS) -> bool:
    return session_token_valid(token, secret=SECRET, connection_id=connection_id, now_ms=now_ms)


TOKEN = mint_session_token(secret=SECRET, connection_id="one", now_ms=NOW_MS)


def test_a_token_opens_its_connection_until_it_expires() -> None:
    assert valid(TOKEN)
    assert valid(TOKEN, now_ms=NOW_MS + SESSION_TOKEN_MS - 1)
    assert not valid(TOKEN, now_ms=NOW_MS + SESSION_TOKEN_MS)


def test_a_token_opens_no_other_connection() -> None:
    assert not valid(TOKEN, connection_id="two")


def test_a_token_of_another_secret_is_refused() -> None:
    forged = mint_session_token(secret=b"x" * 32, connection_id="one", now_ms=NOW_MS)
    assert not valid(forged)


def test_a_token_whose_expiry_was_moved_is_refused() -> None:
    moved = mint_session_token(secret=SECRET, connection_id="one", now_ms=NOW_MS + 60_000)
    mixed = moved[:10] + TOKEN[10:]
    assert mixed != TOKEN
    assert not valid(mixed)


@pytest.mark.parametrize("text", ["", "A", "AAAA", "é", "!!!!", TOKEN[:-4], TOKEN + "AAAA"])
def test_what_is_no_token_is_refused(text: str) -> None:
    assert not valid(text)


@given(st.text())
def test_any_text_is_refused_without_an_error(text: str) -> None:
    assert not valid(text)
