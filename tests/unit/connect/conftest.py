"""What the tests of a worker's life have in common."""

from __future__ import annotations

import pytest

from stepwell.connect import backoff, connection
from stepwell.connect.worker import Timing
from tests.unit.connect.sockets import dial_with_help_only


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds in production takes milliseconds here."""
    monkeypatch.setattr(backoff, "BASE_MS", 1)
    timing = Timing(flush_after_ms=20, flush_again_ms=20, ack_wait_ms=50, hurry_ms=50)
    monkeypatch.setattr(connection, "TIMING", timing)


@pytest.fixture(params=["direct", "loop"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A test that uses this is run with both kinds of links."""
    if request.param == "loop":
        dial_with_help_only(monkeypatch)
    return str(request.param)
