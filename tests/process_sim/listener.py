"""What the code under simulation logs: nothing is shown, and internal errors are kept."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from tests.process_sim.programs import Planned, PlannedForGood

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Listener(logging.Handler):
    """Keeps what was logged with a traceback: only defects are, and what functions raise."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, Planned | PlannedForGood):
            self._lines.append(f"{record.getMessage()}: {error!r}")


@contextmanager
def internal_errors() -> Iterator[list[str]]:
    """What is logged goes here inside of this, and nowhere else."""
    lines: list[str] = []
    handlers: dict[str, logging.Handler] = {
        "stepwell": _Listener(lines),
        "uvicorn": logging.NullHandler(),
        "asyncio": logging.NullHandler(),
    }
    with ExitStack() as changes:
        for name, handler in handlers.items():
            logger = logging.getLogger(name)
            changes.enter_context(patch.object(logger, "propagate", False))
            changes.callback(logger.removeHandler, handler)
            logger.addHandler(handler)
        yield lines
