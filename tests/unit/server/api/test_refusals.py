"""The log of refused credentials: one line a second."""

from __future__ import annotations

import pytest

from stepwell.server.api.refusals import INTERVAL_MS, PATH_CHARS_MAX, RefusalLog, loggable_path


def test_a_flood_is_one_line_a_second_and_what_came_between_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    times = iter([5_000, 5_001, 5_000 + INTERVAL_MS - 1, 5_000 + INTERVAL_MS, 99_000])
    log = RefusalLog(lambda: next(times))
    for _ in range(5):
        log.refused(path="/v2/runs", client=("10.0.0.7", 5), reason="unknown signing key")
    first, second, third = (record.__dict__ for record in caplog.records)
    assert "suppressed" not in first
    assert second["suppressed"] == 2
    assert "suppressed" not in third


def test_a_path_cannot_write_lines_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    log = RefusalLog(lambda: 1)
    log.refused(path="/a\nERROR b\ud800" + "x" * 1_000, client=None, reason="r")
    (record,) = caplog.records
    assert record.__dict__["path"].startswith("/a%0AERROR%20b%3Fx")
    assert len(record.__dict__["path"]) == PATH_CHARS_MAX
    assert record.__dict__["remote"] == "unknown"


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/e/the-key", "/e/..."),
        ("/e/the-key/", "/e/..."),
        ("/prefix/e/the-key/e/more", "/prefix/e/..."),
        ("/e/", "/e/..."),
        ("/v1/events", "/v1/events"),
        ("/edge", "/edge"),
    ],
)
def test_an_event_key_is_in_no_log(
    path: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert loggable_path(path) == logged
    RefusalLog(lambda: 1).refused(path=path, client=None, reason="r")
    assert caplog.records[0].__dict__["path"] == logged
