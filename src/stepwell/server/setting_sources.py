"""Where settings come from: flag, then environment, then `stepwell.toml`, then the default.

The environment is `STEPWELL_<FLAG>` and then `INNGEST_<FLAG>`. The file is the one that `--config`
(or `STEPWELL_CONFIG`, `INNGEST_CONFIG`) names, or the first `stepwell.toml` from the working
directory upwards; its keys are the flags without their dashes in front.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepwell.errors import ConfigError
from stepwell.server import setting_values as values
from stepwell.server.settings import WITHOUT_MEANING, Settings, options, parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepwell.server.settings import Mode, Option

CONFIG_FILE = "stepwell.toml"

CLIENT_KEYS = frozenset({"base-url", "api-base-url", "event-api-base-url"})
"""Keys of the same file that commands read which talk to a server."""

_SERVICE_LINKS = ("tcp://", "udp://", "sctp://")
"""How Kubernetes fills `STEPWELL_PORT` for a service called stepwell: not for us."""
CLIENT_KEYS = frozenset({"base-url", "api-base-url", "event-api-base-url"})
"""Keys of the same file that only commands read which talk to a server."""

MAKE_SIGNING_KEY = (
    "make one with `openssl rand -hex 32`, or with "
    "`python3 -c 'import secrets; print(secrets.token_hex(32))'`"
)
MAKE_EVENT_KEY = (
    "any text that is hard to guess will do: `openssl rand -hex 16`, or "
    "`python3 -c 'import secrets; print(secrets.token_hex(16))'`"
)


def resolve(
    mode: Mode,
    flags: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """Settings from flags, environment and file, checked as a whole.

    Args:
        flags: Given flags by `parameter` name; None and empty values were not given. The key
            `config` names the file.
    Raises:
        ConfigError: A value cannot be used (the message names its source and the value), the
            file cannot be read or has a key that no setting has, or `start` lacks a key.
    """
    env = os.environ if environ is None else environ
    file, file_name = _read_file(flags.get("config"), env, cwd or Path.cwd())
    fields: dict[str, Any] = {"mode": mode}
    sources: dict[str, str] = {}
    ignored: list[str] = []
    for field, option in options().items():
        found = _find(option, flags, env, file, file_name)
        if found is None:
            if mode == "start" and option.start_default is not None:
                fields[field] = option.start_default
            continue
        given, source = found
        if mode not in option.modes:
            ignored.append(source)
            continue
        fields[field] = _read(option, given, source)
        sources[field] = source
    for option in WITHOUT_MEANING:
        found = _find(option, flags, env, file, file_name)
        if found is not None:
            ignored.append(found[1])
    settings = Settings(**fields, sources=sources, ignored=tuple(ignored))
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    if settings.mode != "start":
        return
    if settings.signing_key is None:
        raise ConfigError(
            "`stepwell start` needs a signing key: pass --signing-key or set "
            f"STEPWELL_SIGNING_KEY; {MAKE_SIGNING_KEY}",
            code="signing_key_missing",
        )
    if not settings.event_keys:
        raise ConfigError(
            "`stepwell start` needs an event key: pass --event-key or set "
            f"STEPWELL_EVENT_KEY; {MAKE_EVENT_KEY}",
            code="event_key_missing",
        )


def _find(
    option: Option,
    flags: Mapping[str, Any],
    env: Mapping[str, str],
    file: Mapping[str, Any],
    file_name: str,
) -> tuple[Any, str] | None:
    """The given value and where it stands, from the first place that has one."""
    given = flags.get(parameter(option))
    if given is not None and given != () and given is not False:
        return given, option.flag
    for name in option.environment:
        text = env.get(name, "")
        # A variable set to nothing is how shells and compose files say "not set".
        if text and not text.startswith(_SERVICE_LINKS):
            return text.split(",") if option.many else text, name
    for flag in option.flags:
        key = flag.removeprefix("--")
        if key in file:
            return file[key], f"{key} in {file_name}"
    return None


def _read(option: Option, given: Any, source: str) -> Any:
    try:
        if option.many:
            parts = given if isinstance(given, list | tuple) else [given]
            read = [option.read(values.as_text(part).strip()) for part in parts]
            return tuple(dict.fromkeys(read))
        return option.read(values.as_text(given).strip())
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.message}", code=error.code) from error
    except ValueError as error:
        shown = "the value" if option.secret else repr(given)
        raise ConfigError(f"{source}: {shown} cannot be used; give {error}") from error


def _read_file(named: Any, env: Mapping[str, str], cwd: Path) -> tuple[dict[str, Any], str]:
    """The file's settings and its name for messages; nothing when there is no file."""
    source = "--config"
    for variable in ("STEPWELL_CONFIG", "INNGEST_CONFIG"):
        if not named:
            named, source = env.get(variable), variable
    if named:
        path: Path | None = cwd / str(named)
    else:
        places = (folder / CONFIG_FILE for folder in (cwd, *cwd.parents))
        path = next((place for place in places if place.is_file()), None)
        source = CONFIG_FILE
    if path is None:
        return {}, ""
    try:
        file = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{source}: cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source}: {path} is not a TOML file: {error}") from error
    known = {
        flag.removeprefix("--")
        for option in (*options().values(), *WITHOUT_MEANING)
        for flag in option.flags
    } | CLIENT_KEYS
    spelled = {key.replace("_", "-"): value for key, value in file.items()}
    for key in spelled:
        if key not in known | CLIENT_KEYS:
            raise ConfigError(
                f"{path}: no setting is called {key!r}; see docs/reference/settings.md"
            )
    return spelled, str(path)
