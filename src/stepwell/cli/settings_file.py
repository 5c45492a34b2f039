"""What `stepwell.toml` says to commands that talk to a server.

The same file serves the server, whose keys these commands pass over, except that its `port` tells
them where that server is when no `base-url` does. Found as the server finds it: `--config`, then
`STEPWELL_CONFIG` and `INNGEST_CONFIG`, then the first file from the working directory upwards.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "stepwell.toml"
_KEYS = {
    "base-url": "BASE_URL",
    "api-base-url": "API_BASE_URL",
    "event-api-base-url": "EVENT_API_BASE_URL",
    "event-key": "EVENT_KEY",
    "signing-key": "SIGNING_KEY",
    "signing-key-fallback": "SIGNING_KEY_FALLBACK",
}


def with_file(
    named: str | None, environ: Mapping[str, str], *, cwd: Path | None = None
) -> dict[str, str]:
    """The environment, with the file's settings where neither prefix sets one.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or holds something other than text.
    """
    place = _find(named or environ.get("STEPWELL_CONFIG") or environ.get("INNGEST_CONFIG"), cwd)
    given = {name: value for name, value in environ.items() if value}
    if place is None:
        return given
    file = {key.replace("_", "-"): value for key, value in _read(place).items()}
    if "base-url" not in file and type(file.get("port")) is int and file["port"] > 0:
        file["base-url"] = f"http://127.0.0.1:{file['port']}"
    found = {
        f"INNGEST_{name}": _text(file[key], key, place)
        for key, name in _KEYS.items()
        if key in file
    }
    return found | given


def _find(named: str | None, cwd: Path | None) -> Path | None:
    folder = cwd or Path.cwd()
    if named:
        return folder / named
    places = (parent / FILE_NAME for parent in (folder, *folder.parents))
    return next((place for place in places if place.is_file()), None)


def _read(place: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {place}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{place} is not a TOML file: {error}") from error


def _text(value: Any, key: str, place: Path) -> str:
    if isinstance(value, list) and value:
        value = value[0]  # The server takes several event keys; any of them opens it.
    if not isinstance(value, str):
        raise ConfigError(f"{place}: {key} must be a text")
    return value
