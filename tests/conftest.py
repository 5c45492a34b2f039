"""Fixtures that several suites use."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers with options of one's own; all are stopped at the end of the test.

    `start_server("--retry-interval", "1", mode="start", environ={...})`; `data_dir=` for two
    servers in turn on the same data.
    """
    with contextlib.ExitStack() as running:

        def start(
            *arguments: str,
            data_dir: Path | None = None,
            mode: str = "dev",
            environ: dict[str, str] | None = None,
        ) -> ServerProcess:
            server = ServerProcess(
                *arguments, data_dir=data_dir or tmp_path / "data", mode=mode, environ=environ
            )
            return running.enter_context(server)

        yield start


@pytest.fixture
def server(start_server: Callable[..., ServerProcess]) -> ServerProcess:
    """A development server of this test's own, ready."""
    return start_server()
