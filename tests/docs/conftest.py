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
    with ServerProcess(data_dir=tmp_path_factory.mktemp("seed") / "data") as server:
        yield server


@pytest.fixture(scope="session")
def api(dev: ServerProcess) -> Api:
    """The API of `dev`."""
    return Api(lambda: dev.api_url)
