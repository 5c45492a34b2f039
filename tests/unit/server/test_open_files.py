"""A server asks for the files that its connections need, and says what it cannot have."""

from __future__ import annotations

import resource

import pytest

from stepwell.server.open_files import SPARE, make_room
from stepwell.server.settings import Settings

LIMITS = "stepwell.server.open_files.resource"


class Limits:
    """Those of a system."""

    RLIMIT_NOFILE = resource.RLIMIT_NOFILE
    RLIM_INFINITY = resource.RLIM_INFINITY

    def __init__(self, soft: int, hard: int, *, most: int | None = None) -> None:
        self.soft, self.hard, self.most = soft, hard, most

    def getrlimit(self, _which: int) -> tuple[int, int]:
        return self.soft, self.hard

    def setrlimit(self, _which: int, limits: tuple[int, int]) -> None:
        if self.most is not None and limits[0] > self.most:
            raise ValueError("current limit exceeds maximum limit")
        self.soft, self.hard = limits


@pytest.mark.parametrize("hard", [100_000, resource.RLIM_INFINITY])
def test_the_limit_is_raised_as_far_as_needed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, hard: int
) -> None:
    limits = Limits(1_024, hard)
    monkeypatch.setattr(LIMITS, limits)
    settings = Settings(connections_max=5_000)
    assert make_room(settings) is settings
    assert (limits.soft, limits.hard) == (5_000 + SPARE, hard)
    assert not caplog.records


@pytest.mark.parametrize("soft", [20_000, resource.RLIM_INFINITY])
def test_a_limit_that_is_high_enough_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, soft: int
) -> None:
    limits = Limits(soft, soft)
    monkeypatch.setattr(LIMITS, limits)
    settings = Settings()
    assert make_room(settings) is settings
    assert limits.soft == soft
    assert not caplog.records


@pytest.mark.parametrize(
    ("limits", "left", "fit"),
    [
        (Limits(1_024, 4_096), 4_096, 4_096 - SPARE),
        (Limits(256, 300), 300, 150),
        (Limits(1_024, resource.RLIM_INFINITY, most=10_240), 1_024, 1_024 - SPARE),
    ],
)
def test_a_system_that_allows_less_is_named_and_the_server_takes_fewer_connections(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    limits: Limits,
    left: int,
    fit: int,
) -> None:
    monkeypatch.setattr(LIMITS, limits)
    settings = make_room(Settings(connections_max=100_000))
    assert settings.connections_max == fit
    assert limits.soft == left
    (record,) = caplog.records
    assert f"{left:,} files" in record.getMessage()
    assert f"{fit:,} connections of workers instead of 100,000" in record.getMessage()
