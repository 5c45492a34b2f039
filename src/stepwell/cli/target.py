"""Which server a command talks to, and with which keys: the options that all of them share."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import click
import msgspec

from stepwell import config
from stepwell.cli.api import Api
from stepwell.cli.settings_file import with_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_OPTIONS = (
    click.option("--url", metavar="URL", help="The server. Else STEPWELL_BASE_URL, then "
                 f"INNGEST_BASE_URL, then stepwell.toml. [default: {config.DEV_SERVER_URL}]"),
    click.option("--signing-key", metavar="KEY", help="For a server with keys. Else "
                 "STEPWELL_SIGNING_KEY, then INNGEST_SIGNING_KEY, then stepwell.toml."),
    click.option("--config", "config_file", metavar="FILE", help="The stepwell.toml to read."),
)  # fmt: skip


def talks_to_server(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options above, and `api` in their place."""

    @functools.wraps(command)
    def wrapped(
        *args: Any, url: str | None, signing_key: str | None, config_file: str | None, **kwargs: Any
    ) -> Any:
        event_key = kwargs.pop("event_key", None)
        settings = resolve(
            url=url, signing_key=signing_key, event_key=event_key, config_file=config_file
        )
        with Api(settings) as api:
            return command(*args, api=api, **kwargs)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def resolve(
    *,
    url: str | None = None,
    signing_key: str | None = None,
    event_key: str | None = None,
    config_file: str | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> config.ClientSettings:
    """Flags, then `STEPWELL_X`, then `INNGEST_X`, then the file, then a local server.

    Unlike the SDK, a command with a signing key still has a default server: this machine's.

    Raises:
        ConfigError: A value cannot be used.
    """
    layered = with_file(config_file, os.environ if environ is None else environ, cwd=cwd)
    settings = config.resolve(
        is_production=False,
        api_base_url=url,
        event_api_base_url=url,
        signing_key=signing_key,
        event_key=event_key,
        environ=layered,
    )
    # The server's variable may list several keys; each of them opens it.
    first = (settings.event_key or config.DEV_EVENT_KEY).split(",")[0].strip()
    return msgspec.structs.replace(settings, event_key=first)
