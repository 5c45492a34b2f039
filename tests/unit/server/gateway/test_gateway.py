"""What settings mean to the gateway. Its sockets are tested in `tests/e2e/gateway`."""

from __future__ import annotations

import pytest

from stepwell.server.gateway.gateway import session_config
from stepwell.server.settings import Settings


@pytest.mark.parametrize(
    ("lease_ms", "heartbeat_ms", "extend", "heartbeat", "silence_ms"),
    [
        (120_000, 10_000, "5s", "10s", 50_000),
        (8_000, 10_000, "2s", "10s", 50_000),
        (100, 1_000, "1s", "1s", 25_000),
        (20_000, 1_500, "5s", "1s", 25_000),
        (86_400_000, 3_600_000, "5s", "3600s", 18_000_000),
    ],
)
def test_the_advertised_intervals_are_whole_seconds(  # Connect 51
    lease_ms: int, heartbeat_ms: int, extend: str, heartbeat: str, silence_ms: int
) -> None:
    settings = Settings(connect_lease_ms=lease_ms, connect_heartbeat_ms=heartbeat_ms)
    config = session_config(settings, lambda *_: True)
    assert config.extend_lease_interval == extend
    assert config.heartbeat_interval == heartbeat
    assert config.silence_ms == silence_ms


def test_the_drain_wait_is_the_settings() -> None:
    config = session_config(Settings(connect_drain_wait_ms=7_000), lambda *_: True)
    assert config.drain_wait_ms == 7_000
