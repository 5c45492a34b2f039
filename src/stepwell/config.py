"""Where the SDK's settings come from: the option, then `STEPWELL_X`, then `INNGEST_X`.

Mode: an explicit `is_production` wins; then `STEPWELL_DEV` / `INNGEST_DEV` (`0` and `false` mean
production, anything else development, a URL also names the server); then a signing key means
production and no signing key means development. There is no hosted server to fall back to, so
production needs a base URL. That no key is there is a guess: see `app.check_client`.

Source: docs/reference/wire/http-sdk.md, "settings".
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from stepwell.errors import ConfigError
from stepwell.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

SDK_NAME = f"stepwell-py:v{__version__}"
"""What the SDK calls itself in headers and replies."""

DEV_SERVER_URL = "http://127.0.0.1:8288"
DEV_EVENT_KEY = "NO_EVENT_KEY_SET"

_APP_VERSION_NAMES = (
    "STEPWELL_APP_VERSION",
    "GITHUB_SHA",
    "RENDER_GIT_COMMIT",
    "FLY_MACHINE_VERSION",
    "RAILWAY_GIT_COMMIT_SHA",
)
_INSTANCE_ID_NAMES = (
    "STEPWELL_INSTANCE_ID",
    "RENDER_INSTANCE_ID",
    "FLY_MACHINE_ID",
    "HOSTNAME",
)

_SECRETS = frozenset({"event_key", "signing_key", "signing_key_fallback"})


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a client talks to and with which credentials. Base URLs have no trailing slash.

    `api_base_url` and `event_api_base_url` are None when production names no server.
    `is_mode_guessed`: it is development only because nothing says what it is.
    """

    is_production: bool
    is_mode_guessed: bool = False
    api_base_url: str | None
    event_api_base_url: str | None
    event_key: str | None
    signing_key: str | None
    signing_key_fallback: str | None
    env: str | None
    app_version: str | None

    def __repr__(self) -> str:
        """Fields and values, with every secret masked: settings end up in logs."""
        shown = {
            name: "***" if name in _SECRETS and getattr(self, name) else getattr(self, name)
            for name in self.__struct_fields__
        }
        return "ClientSettings(" + ", ".join(f"{k}={v!r}" for k, v in shown.items()) + ")"

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The keys to try, in order; empty in development without keys."""
        return tuple(key for key in (self.signing_key, self.signing_key_fallback) if key)


def setting(name: str, environ: Mapping[str, str]) -> str | None:
    """The value of `STEPWELL_<name>`, else of `INNGEST_<name>`; empty counts as unset."""
    return environ.get(f"STEPWELL_{name}") or environ.get(f"INNGEST_{name}") or None


def resolve(
    *,
    is_production: bool | None = None,
    api_base_url: str | None = None,
    event_api_base_url: str | None = None,
    event_key: str | None = None,
    signing_key: str | None = None,
    signing_key_fallback: str | None = None,
    env: str | None = None,
    app_version: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> ClientSettings:
    """Join options and environment.

    Raises:
        ConfigError: `url_invalid`, if a base URL is not http(s) with a host; `base_url_missing`,
            if production names no server at all.
    """
    environ = os.environ if environ is None else environ
    signing_key = signing_key or setting("SIGNING_KEY", environ)
    dev_text = setting("DEV", environ)
    is_mode_guessed = is_production is None and dev_text is None and signing_key is None
    if is_production is None:
        if dev_text is not None:
            is_production = dev_text.lower() in ("0", "false")
        else:
            is_production = signing_key is not None

    fallback_url = setting("BASE_URL", environ)
    if fallback_url is None and not is_production:
        fallback_url = _dev_url(dev_text) or DEV_SERVER_URL
    api = api_base_url or setting("API_BASE_URL", environ) or fallback_url
    events = event_api_base_url or setting("EVENT_API_BASE_URL", environ) or fallback_url
    if api is None and events is None:
        raise ConfigError(
            "a signing key (or is_production=True) means production, and production needs to know "
            "its server: pass api_base_url= or set STEPWELL_BASE_URL; for a development server "
            "set STEPWELL_DEV=1",
            code="base_url_missing",
        )
    return ClientSettings(
        is_production=is_production,
        is_mode_guessed=is_mode_guessed,
        api_base_url=None if api is None else _checked_url(api),
        event_api_base_url=None if events is None else _checked_url(events),
        event_key=event_key
        or setting("EVENT_KEY", environ)
        or (None if is_production else DEV_EVENT_KEY),
        signing_key=signing_key,
        signing_key_fallback=signing_key_fallback or setting("SIGNING_KEY_FALLBACK", environ),
        env=env or setting("ENV", environ),
        app_version=app_version or _first(_APP_VERSION_NAMES, environ),
    )


def default_instance_id(environ: Mapping[str, str] | None = None) -> str:
    """The name of this worker when the program gives none: the platform's, else the host's."""
    return _first(_INSTANCE_ID_NAMES, os.environ if environ is None else environ) or (
        socket.gethostname()
    )


def max_worker_concurrency(option: int | None, environ: Mapping[str, str] | None = None) -> int:
    """How many calls the server may have outstanding at this worker; 0 means no limit.

    Raises:
        ConfigError: If the option or the variable is not a whole number of at least 0.
    """
    environ = os.environ if environ is None else environ
    if option is None:
        text = setting("CONNECT_MAX_WORKER_CONCURRENCY", environ)
        if text is None:
            return 0
        try:
            option = int(text)
        except ValueError:
            raise ConfigError(
                f"CONNECT_MAX_WORKER_CONCURRENCY is {text!r}; it must be a whole number, 0 for "
                "no limit"
            ) from None
    if option < 0:
        raise ConfigError(f"max_worker_concurrency is {option}; it must be 0 (no limit) or more")
    return option


def gateway_url_override(environ: Mapping[str, str] | None = None) -> str | None:
    """The gateway address that replaces what the server advertises, if one is set."""
    return setting("CONNECT_GATEWAY_URL", os.environ if environ is None else environ)


def health_port_setting(environ: Mapping[str, str] | None = None) -> int | None:
    """The port for health checks that the environment names.

    Raises:
        ConfigError: It is no port.
    """
    text = setting("CONNECT_HEALTH_PORT", os.environ if environ is None else environ)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise ConfigError(
            f"CONNECT_HEALTH_PORT is {text!r}; it must be a port, or 0 for any that is free"
        )
    return int(text)


def health_host_setting(environ: Mapping[str, str] | None = None) -> str:
    """The address of that port: this machine only, unless the environment says another."""
    environ = os.environ if environ is None else environ
    return setting("CONNECT_HEALTH_HOST", environ) or "127.0.0.1"


def _first(names: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    for name in names:
        if value := environ.get(name):
            return value
    return None


def _dev_url(text: str | None) -> str | None:
    """The server that `STEPWELL_DEV` names, if it is more than a switch."""
    if text is None or text.lower() in ("1", "true"):
        return None
    if "://" in text:
        return text
    # `localhost:8288` is meant as a URL; a word such as `yes` is meant as a switch.
    return f"http://{text}" if ":" in text or "." in text or text == "localhost" else None


def _checked_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, a port or a host that cannot be one
        usable = False
    if not usable:
        raise ConfigError(
            f"{text!r} is not a base URL; it must look like http://127.0.0.1:8288",
            code="url_invalid",
        )
    return text.rstrip("/")
