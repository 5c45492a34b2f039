"""Noticing that code has changed."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from stepwell.cli import worker_reload
from stepwell.cli.worker_reload import changes, code_below

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WAIT_S = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_reload, "PAUSE_S", 0.01)
    monkeypatch.setattr(worker_reload, "SETTLED_S", 0.01)


def write(path: Path, text: str) -> None:
    """Write a file so that its time is another one, however coarse the system's clock is."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    after = max(path.stat().st_mtime_ns, before + 1_000_000)
    os.utime(path, ns=(after, after))


async def until_told(seen: AsyncIterator[str], what: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while await anext(seen) != what:
            continue


def test_changed_new_and_removed_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    code = tmp_path / "pack" / "code.py"
    code.write_text("1")

    async def run() -> None:
        stopping = asyncio.Event()
        seen = changes(tmp_path, stopping)
        first = asyncio.ensure_future(until_told(seen, "pack/code.py"))
        while not first.done():  # the first look has no moment that can be seen from here
            write(code, "2")
            await asyncio.wait([first], timeout=0.05)
        await first
        write(tmp_path / "new.py", "1")
        await until_told(seen, "new.py")
        code.unlink()
        await until_told(seen, "pack/code.py")
        stopping.set()
        async with asyncio.timeout(WAIT_S):
            assert [what async for what in seen] == []

    asyncio.run(run())


def test_what_is_no_code_of_the_program_is_passed_over(tmp_path: Path) -> None:
    for folder in (".venv", "node_modules", "__pycache__"):
        (tmp_path / folder).mkdir()
    for name in (".venv/a.py", "node_modules/a.py", "__pycache__/a.py", "notes.txt"):
        (tmp_path / name).write_text("1")
    (tmp_path / "code.py").write_text("1")

    assert [path for path, _ in code_below(str(tmp_path))] == [str(tmp_path / "code.py")]
    assert list(code_below(str(tmp_path / "gone"))) == []
