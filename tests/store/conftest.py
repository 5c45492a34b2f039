"""Stores to test: each contract test runs on every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stepwell.store.memory import MemoryStore
from stepwell.store.sqlite import SqliteStore
from tests.store.stories import Story

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stepwell.store.interface import Reader, Store


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "data")
    yield store
    store.close()


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    """A reader that was there before anything was stored."""
    reader = store.reader()
    yield reader
    reader.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqliteStore]:
    """An empty store on disk, in `tmp_path / "data"`."""
    store = SqliteStore(tmp_path / "data")
    yield store
    store.close()


@pytest.fixture
def story() -> Story:
    """Makes rows."""
    return Story()
