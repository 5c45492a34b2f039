"""Bugs planted on purpose: a simulation that would not notice them proves nothing.

Each is a patch of the server in `planted/`, whose header says what is broken and which invariant
must see it. It is applied to a copy of the source, and the simulation runs over that copy in a
process of its own. Patches are unified diffs with next to no context, since the source changes
beneath them; so they are applied here by their text and not by line numbers, and the text that
one replaces must be there exactly once. That asks for no tool that a machine may lack.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DIRECTORY = Path(__file__).with_name("planted")
SEEDS = 400
"""In so many simulations a planted bug must show."""

FIRST_SEED = 1_000
HUNT_S = 300
"""No hunt takes so long: something hangs."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One place of a patch: a file from the root, the text there, and what it becomes."""

    path: str
    before: str
    after: str


class Bug(msgspec.Struct, frozen=True, kw_only=True):
    """A patch. `invariant` is the number of the one that must see it, and `says` a part of how."""

    name: str
    broken: str
    invariant: int
    says: str
    changes: tuple[Change, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a bug was caught, and what the simulation said."""

    bug: Bug
    caught: bool
    said: str


def read_bugs() -> list[Bug]:
    """All patches, by name."""
    return [_read(path) for path in sorted(DIRECTORY.glob("*.patch"))]


def changed_files(bug: Bug) -> dict[str, str]:
    """The text of the files that the bug changes, by their paths from the root.

    Raises:
        ValueError: The patch does not fit the source any more; the message says where.
    """
    texts: dict[str, str] = {}
    for change in bug.changes:
        text = texts.get(change.path) or (ROOT / change.path).read_text()
        found = text.count(change.before)
        if found != 1:
            raise ValueError(
                f"{bug.name} does not fit: {change.path} has this text {found} times, not once:\n"
                f"{change.before}"
            )
        texts[change.path] = text.replace(change.before, change.after)
        compile(texts[change.path], change.path, "exec")
    return texts


def plant(bug: Bug, directory: Path) -> Path:
    """Make a copy of the source with the bug in it; returns where a process finds it."""
    # With what is compiled already: it is valid for all files but the changed ones.
    shutil.copytree(ROOT / "src" / "stepwell", directory / "src" / "stepwell")
    for path, text in changed_files(bug).items():
        (directory / path).write_text(text)
    return directory / "src"


def hunt(bug: Bug, directory: Path, *, seeds: int = SEEDS) -> Verdict:
    """Simulate over a copy with the bug, until its invariant sees it.

    An error of any other kind does not count: neither a process that cannot start nor another
    invariant.
    """
    source = plant(bug, directory)
    try:
        done = simulate_over(
            source, str(FIRST_SEED), "--count", str(seeds), "--until", str(bug.invariant)
        )
    except subprocess.TimeoutExpired:
        return Verdict(bug=bug, caught=False, said=f"it went on for more than {HUNT_S} s")
    said = done.stdout + done.stderr
    over_copy = f"over {source / 'stepwell'}\n" in done.stdout
    sees = rf"^seed \d+: {bug.invariant}: .*{re.escape(bug.says)}.*$"
    seen = re.search(sees, done.stdout, re.MULTILINE)
    caught = over_copy and done.returncode == 1 and seen is not None
    return Verdict(bug=bug, caught=caught, said=said if caught else said[-2_000:])


def simulate_over(source: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.sim` over another source."""
    return subprocess.run(
        (sys.executable, "-m", "tests.sim", *arguments),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
        timeout=HUNT_S,
    )


def _read(path: Path) -> Bug:
    head, _, body = path.read_text().partition("--- ")
    given = re.fullmatch(
        r"(?P<broken>[^\n]+)\nSeen by invariant (?P<number>\d+)(?:: (?P<says>[^\n]+))?\.\n+", head
    )
    if given is None:
        raise ValueError(f"{path.name} must begin with what is broken and `Seen by invariant N.`")
    return Bug(
        name=path.stem,
        broken=given["broken"],
        invariant=int(given["number"]),
        says=given["says"] or "",
        changes=tuple(_changes("--- " + body)),
    )


def _changes(diff: str) -> Iterator[Change]:
    path = ""
    before: list[str] | None = None
    after: list[str] = []
    for line in [*diff.splitlines(keepends=True), "@@"]:
        if line.startswith(("--- ", "@@")):
            if before is not None:
                yield Change(path=path, before="".join(before), after="".join(after))
            before, after = ([], []) if line.startswith("@@") else (None, [])
        elif line.startswith("+++ b/"):
            path = line.removeprefix("+++ b/").rstrip("\n")
        elif before is not None:
            if line[:1] in " -":
                before.append(line[1:])
            if line[:1] in " +":
                after.append(line[1:])
