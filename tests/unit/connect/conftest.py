"""What the tests of a worker's life have in common."""

from __future__ import annotations

import pytest

from stepwell.connect import connection
from stepwell.connect.plan import Timing
from stepwell.connect.reconnect import ReconnectPolicy
from tests.unit.connect.sockets import dial_with_help_only


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds in production takes milliseconds here."""
    monkeypatch.setattr(connection, "RECONNECT", ReconnectPolicy(base=1))
    timing = Timing(flush_after_ms=20, flush_again_ms=20, ack_wait_ms=50, hurry_ms=50)
    monkeypatch.setattr(connection, "TIMING", timing)


@pytest.fixture
def no_flush(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies leave on the next socket, however long a loaded machine takes to open it.

    Without this they go over HTTP after 20 ms without one, and do not come on the socket again.
    """
    timing = Timing(flush_after_ms=60_000, ack_wait_ms=50, hurry_ms=50)
    monkeypatch.setattr(connection, "TIMING", timing)


@pytest.fixture(params=["direct", "loop"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A test that uses this is run with both kinds of links."""
    if request.param == "loop":
        dial_with_help_only(monkeypatch)
    return str(request.param)
