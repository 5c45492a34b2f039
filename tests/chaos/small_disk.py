"""A disk of its own for a test: small, so that it can be filled, and mounted, so that it can be
made read-only."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE_MIB = 24  # The log of an empty database takes eight.
CHUNK = bytes(64 * 2**10)


class SmallDisk:
    """A mounted file system in memory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._filler = directory / "filler"

    def fill(self) -> None:
        """Leave no room at all."""
        with self._filler.open("wb", buffering=0) as file:
            for chunk in (CHUNK, b"\0"):
                with contextlib.suppress(_Full), _full_is_known():
                    while True:
                        file.write(chunk)

    def free(self) -> None:
        """Give the room back."""
        self._filler.unlink()

    def remount(self, mode: str) -> None:
        """`ro` or `rw`. The kernel refuses the first while a file is open for writing."""
        _mount("-o", f"remount,{mode}", str(self.directory))


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[SmallDisk]:
    """Mount one; the test is skipped where that is not allowed."""
    directory.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a disk, and only on Linux do we know how")
    try:
        _mount("-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "stepwell-test", str(directory))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a disk cannot be mounted here: {error.stderr.strip()}")
    try:
        yield SmallDisk(directory)
    finally:
        subprocess.run(("umount", "--lazy", str(directory)), check=True)


class _Full(Exception):
    """No room is left."""


@contextlib.contextmanager
def _full_is_known() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _Full from error


def _mount(*arguments: str) -> None:
    subprocess.run(("mount", *arguments), check=True, capture_output=True, text=True)
