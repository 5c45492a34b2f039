"""One development server for the blocks of the pages, whatever their language."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.compat.api import Api
from tests.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    # A program that is killed holds its version of the app in force for the grace, and the next one
    # may have an earlier version.
    grace = ("--connect-reconnect-grace", "1")
    with ServerProcess(*grace, data_dir=tmp_path_factory.mktemp("seed") / "data") as server:
        yield server


@pytest.fixture(scope="session")
def api(dev: ServerProcess) -> Api:
    """The API of `dev`."""
    return Api(lambda: dev.api_url)
