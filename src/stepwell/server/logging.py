"""How the server logs: one line a record on stderr, JSON for machines or text for people.

Names and reasons come from peers, so what would move a terminal's cursor, begin a line or turn
the text around is escaped: everywhere, also in tracebacks. In text those are indented, so that
none of their lines is taken for a record.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

# What every record has; the rest was given as `extra` and belongs in the line.
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message"}


def setup_logging(json: bool, level: str, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (stderr) from `level` on.

    Args:
        json: One JSON object a line (when stderr is not a terminal); else text for people.
        level: `debug`, `info`, `warning` or `error`.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for name in ("asyncio", "uvicorn.error"):
        # Their information is about sockets; ours says what a person wants to know at start.
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True


class JsonFormatter(logging.Formatter):
    """`{"time","level","logger","message", ...extra, "error"?}`, one line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _extra(record)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        try:
            text = msgspec.json.encode(line, enc_hook=repr).decode()
        except UnicodeEncodeError:  # half of a surrogate pair
            text = json.dumps(line, ensure_ascii=False, default=repr)
            text = text.encode(errors="replace").decode()
        if text.isprintable():
            return text
        return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


class TextFormatter(logging.Formatter):
    """`10:42:07.123 INFO  stepwell.server  message  key=value`, the traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        time = _time(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        name = record.name.removeprefix("stepwell.")
        line = f"{time} {record.levelname:<7} {name}  {_printable(record.getMessage())}"
        for key, value in _extra(record).items():
            line += f"  {key}={_printable(str(value))}"
        if record.exc_info:
            for row in self.formatException(record.exc_info).split("\n"):
                line += "\n  " + _printable(row)
        return line


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _extra(record: logging.LogRecord) -> Mapping[str, Any]:
    return {key: value for key, value in record.__dict__.items() if key not in _OWN}


def _printable(text: str) -> str:
    """The text with what cannot be seen as Python would write it in a literal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
