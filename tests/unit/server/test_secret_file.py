"""The installation's secret is made once, kept safely, and never guessed at."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from stepwell.errors import ConfigError
from stepwell.server.secret_file import SECRET_BYTES, SECRET_FILE, load_or_create_secret

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_made_once_and_the_same_ever_after(tmp_path: Path) -> None:
    data_dir = tmp_path / "a" / "b"
    first = load_or_create_secret(data_dir)
    assert len(first) == SECRET_BYTES
    assert load_or_create_secret(data_dir) == first
    assert [path.name for path in data_dir.iterdir()] == [SECRET_FILE]


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    load_or_create_secret(data_dir)
    path = data_dir / SECRET_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    load_or_create_secret(data_dir)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


def test_each_installation_has_its_own(tmp_path: Path) -> None:
    secrets = [load_or_create_secret(tmp_path / name) for name in ("a", "b")]
    assert secrets[0] != secrets[1]


def test_in_memory_nothing_is_kept() -> None:
    assert load_or_create_secret(None) != load_or_create_secret(None)


def test_many_that_race_all_get_the_one_that_stays(tmp_path: Path) -> None:
    found: list[bytes] = []
    gate = threading.Barrier(8)

    def load() -> None:
        gate.wait()
        found.append(load_or_create_secret(tmp_path / "data"))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [load_or_create_secret(tmp_path / "data")] * 8
    assert [path.name for path in (tmp_path / "data").iterdir()] == [SECRET_FILE]


def test_a_draft_that_another_process_finished_first_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = b"o" * SECRET_BYTES
    link = os.link

    def late(draft: Path, path: Path) -> None:
        path.write_text(other.hex())  # the other process, one moment earlier
        link(draft, path)

    monkeypatch.setattr(os, "link", late)
    assert load_or_create_secret(tmp_path) == other
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]


@pytest.mark.parametrize("content", [b"", b"abcd", b"zz" * 32, b"\xff" * 64, b"ab" * 33])
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SECRET_FILE).write_bytes(content)
    with pytest.raises(ConfigError, match="delete it and a new one is made") as caught:
        load_or_create_secret(tmp_path)
    assert caught.value.code == "secret_unusable"
    assert (tmp_path / SECRET_FILE).read_bytes() == content


def test_a_directory_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="choose another --data-dir") as caught:
        load_or_create_secret(tmp_path / "file" / "data")
    assert str(tmp_path / "file" / "data") in caught.value.message
