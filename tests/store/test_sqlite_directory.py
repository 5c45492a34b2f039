"""One server per data directory, however the last one ended."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stepwell.errors import Fenced, StoreError
from stepwell.store.sqlite import SqliteStore
from stepwell.store.sqlite.directory import LOCK_FILE, DataDirectory

if TYPE_CHECKING:
    from tests.store.stories import Story

pytestmark = pytest.mark.store

HOLDER = """
import sys
from pathlib import Path
from stepwell.store.sqlite import SqliteStore
from tests.store.stories import Story

store = SqliteStore(Path(sys.argv[1]))
store.commit(Story().intake()[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_second_opener_is_told_who_holds_the_directory_and_what_to_do(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    with pytest.raises(Fenced) as caught:
        SqliteStore(tmp_path / "data")
    text = str(caught.value)
    assert str(tmp_path / "data") in text
    assert f"process {os.getpid()}" in text
    assert "--data-dir" in text


def test_refused_opener_does_not_disturb_the_holder(
    sqlite_store: SqliteStore, tmp_path: Path, story: Story
) -> None:
    for _ in range(2):
        with pytest.raises(Fenced):
            SqliteStore(tmp_path / "data")
    sqlite_store.commit(story.intake()[1])
    assert len(sqlite_store.reader().runs(limit=9)) == 1


def test_closed_store_frees_the_directory(tmp_path: Path) -> None:
    for _ in range(3):
        store = SqliteStore(tmp_path / "data")
        store.close()
        store.close()


def test_killed_process_leaves_no_lock_and_loses_nothing(tmp_path: Path) -> None:
    """`kill -9` is the kindest crash; see `test_power_loss.py` for worse."""
    directory = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(Fenced, match=f"process {holder.pid}"):
                SqliteStore(directory)
        finally:
            holder.kill()
    store = SqliteStore(directory)
    assert len(store.reader().runs(limit=9)) == 1
    store.close()


def test_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "deep" / "data")
    assert stat.S_IMODE((tmp_path / "deep" / "data").stat().st_mode) == 0o700
    store.close()


def test_lock_file_stays(tmp_path: Path) -> None:
    """Were it deleted, two servers could each lock a file of that name."""
    held = DataDirectory(tmp_path)
    held.release()
    held.release()
    assert (tmp_path / LOCK_FILE).exists()
    again = DataDirectory(tmp_path)
    again.release()


def test_file_in_the_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StoreError, match=f"data directory {tmp_path / 'data'}") as caught:
        SqliteStore(tmp_path / "data")
    assert not isinstance(caught.value, Fenced)


def test_directory_with_a_relative_name_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore(Path(".stepwell"))
    store.close()
    assert (tmp_path / ".stepwell" / "stepwell.db").exists()
