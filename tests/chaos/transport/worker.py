"""The program `noted` as a process, with any SDK; who watches over it starts it again."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import msgspec

from tests.chaos.scene import APPS
from tests.compat.languages import GO, HERE, PYTHON, STEPWELL, TYPESCRIPT_3, TYPESCRIPT_4, Language
from tests.server_process import clean_environ, die_with_the_tests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.compat.worker import Stage

ENDS_S = 20.0
LOG_CHARS_SHOWN = 3_000

_NODE = APPS / "noted.mjs"
LANGUAGES: tuple[Language, ...] = (
    msgspec.structs.replace(PYTHON, source=APPS / "noted.py"),
    msgspec.structs.replace(TYPESCRIPT_4, source=_NODE),
    msgspec.structs.replace(TYPESCRIPT_3, source=_NODE),
    msgspec.structs.replace(GO, program=(*GO.program, "noted", "-")),
    msgspec.structs.replace(STEPWELL, source=APPS / "noted.py", environ={}),
)
"""Every SDK with its program; each is an app of its own, named like the SDK."""

LOOPS = ("python", "typescript4", "typescript3", "stepwell")
"""Those whose functions share one thread, which a step can block."""


class Noted:
    """One worker. Each start is an instance of its own to the server.

    Args:
        url: Of the server, as the worker reaches it.
        environ: More variables. With a signing key among them the server is no development one.
    """

    _numbers = itertools.count(1)

    def __init__(
        self,
        language: Language,
        *,
        version: str,
        url: str,
        stage: Stage,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.language = language
        self.version = version
        self.instance_id = ""
        self.is_wanted = False  # whoever watches over it starts it again
        self._source = language.place_source(stage.directory)
        self._command = [*language.program, *self._source]
        self._log = stage.directory / f"{language.name}-{version}.log"
        self._cwd = stage.directory
        keys = dict(environ or {})
        self._environ = clean_environ(
            NO_COLOR="1",
            PYTHONPATH=os.pathsep.join(
                filter(None, (str(HERE / "apps"), os.environ.get("PYTHONPATH")))
            ),
            PYTHONUNBUFFERED="1",
            STAGE_APP=language.name,
            STAGE_DIRECTORY=str(stage.directory),
            STAGE_VERSION=version,
            **{"INNGEST_BASE_URL" if keys else "INNGEST_DEV": url},
            **language.environ,
            **keys,
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """The end of what it printed."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return f"{self.language.name} {self.version}:\n{text[-LOG_CHARS_SHOWN:]}"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of its last start."""
        assert self._process is not None, "the worker was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, again if it has ended."""
        assert not self.is_running, "the worker runs already"
        self.is_wanted = True
        self.instance_id = f"{self.language.name}-{self.version}-{next(self._numbers)}"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env={**self._environ, "STAGE_INSTANCE": self.instance_id},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_the_tests,
            )

    def ask_to_end(self) -> None:
        """What a service manager does first."""
        self.is_wanted = False
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> bool:
        """Wait until it has ended by itself; kill it if it takes too long, and say False."""
        assert self._process is not None, "the worker was not started"
        try:
            self._process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self.end()
            return False
        return True

    def end(self) -> None:
        """Kill it if it runs."""
        self.is_wanted = False
        if self._process is not None and self.is_running:
            self._process.kill()
            self._process.wait(ENDS_S)

    def remove_source(self) -> None:
        """A program that was copied beside its modules does not stay there."""
        for path in self._source:
            os.unlink(path)
