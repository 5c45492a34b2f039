"""The peers: other engines for durable functions, each in an environment of its own.

A peer's worker is the same program as ours in the peer's terms (`*_worker.py`, run by the peer's
own interpreter); its side (`*_peer.py`) is how the driver brings it up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def installed(home: Path, package: str) -> str | None:
    """The version of a package in the environment at `home`, None if it is not there."""
    for found in home.glob(f"lib/python*/site-packages/{package}-*.dist-info"):
        return found.name.removeprefix(f"{package}-").removesuffix(".dist-info")
    return None
