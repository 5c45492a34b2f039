"""The SDKs that run the scenarios, each in its own environment, and how their apps are started."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
CACHE = ROOT / ".cache"
NODE = CACHE / "compat/node/node_modules/.bin/node"

_NUMBERS = itertools.count(1)


class Language(msgspec.Struct, frozen=True, kw_only=True):
    """An SDK and the program that runs the app of the scenarios with it.

    Attributes:
        transports: All that it can use. The first one is what `make test` runs.
        source: Of the app; copied beside what it imports before it runs, except for `go`.
        needs: Without these files the environment was not made.
        leaves_out: Functions that the SDK itself refuses.
    """

    name: str
    transports: tuple[str, ...]
    program: tuple[str, ...]
    source: Path | None = None
    home: Path | None = None
    needs: tuple[Path, ...]
    environ: Mapping[str, str] = msgspec.field(default_factory=dict)
    official: bool = True
    leaves_out: tuple[str, ...] = ()

    def place_source(self, scratch: Path) -> list[str]:
        """The app's source where it can run: its path, or nothing where the program is the app."""
        if self.source is None:
            return []
        text = self.source.read_text()
        if not self.official:
            text = with_our_sdk(text)
        # Modules are looked up from where a TypeScript file lies; the name is this process's own.
        directory = self.home or scratch
        copy = directory / f"app-{os.getpid()}-{next(_NUMBERS)}{self.source.suffix}"
        copy.write_text(text)
        return [str(copy)]

    def missing(self) -> list[str]:
        """The files of its environment that are not there."""
        return [str(path) for path in self.needs if not path.exists()]


_OURS = (
    (r"^import inngest$", "import stepwell as inngest"),
    (r"^( +)import inngest\.", r"\1import stepwell."),
    (r"^from inngest\.experimental\.ai import openai$", "from stepwell.ai import openai"),
    (r"^from inngest\.", "from stepwell."),
    (r"\bopenai\.Adapter\(", "openai("),
    (r"inngest\.ParallelMode\.RACE", '"race"'),
    (r"inngest\.Streaming\.FORCE", '"force"'),
    (
        r"^# --- the transports ---$",
        "import scenarios_stepwell\nscenarios_stepwell.add(client, functions, define, LEFT_OUT)",
    ),
)
"""What a program for the official Python SDK is changed by, to run with ours."""


def with_our_sdk(source: str) -> str:
    """A program for the official Python SDK, with our SDK in its place."""
    for pattern, replacement in _OURS:
        source = re.sub(pattern, replacement, source, flags=re.MULTILINE)
    return source


def _typescript(major: int, *transports: str) -> Language:
    home = CACHE / f"compat/v{major}"
    return Language(
        name=f"typescript{major}",
        transports=transports,
        program=(str(NODE),),
        source=HERE / "typescript/app.mjs",
        home=home,
        needs=(NODE, home / "node_modules/inngest"),
        environ={"SDK_MAJOR": str(major)},
    )


PYTHON = Language(
    name="python",
    transports=("fast_api", "flask", "django", "connect"),
    program=(str(CACHE / "official-py/bin/python"),),
    source=HERE / "apps/scenarios.py",
    needs=(CACHE / "official-py/bin/python",),
)
TYPESCRIPT_4 = _typescript(4, "serve", "connect")
TYPESCRIPT_3 = _typescript(3, "connect", "serve")
GO = Language(
    name="go",
    transports=("serve", "connect"),
    program=(str(CACHE / "compat/go/app"),),
    needs=(CACHE / "compat/go/app",),
)
STEPWELL = Language(
    name="stepwell",
    transports=("connect", "fast_api", "flask", "django"),
    program=(sys.executable,),
    source=HERE / "apps/scenarios.py",
    needs=(),
    environ={"PYTHONPATH": str(HERE / "apps")},
    official=False,
    leaves_out=("fails-50",),  # at most 20 retries, said where the function is written
)

LANGUAGES = (PYTHON, TYPESCRIPT_4, TYPESCRIPT_3, GO, STEPWELL)
