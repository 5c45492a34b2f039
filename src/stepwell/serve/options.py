"""How an app is served: options of the program, then `STEPWELL_X`, then `INNGEST_X`.

Source: docs/reference/wire/http-sdk.md, "settings".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from stepwell.config import setting
from stepwell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVE_PATH_DEFAULT: Final = "/api/inngest"
"""Where servers look for apps."""

SYNC_THREADS_DEFAULT: Final = 64

_INTO_A_PROGRAM = frozenset({"fast_api", "flask", "starlette"})
_ON = frozenset({"1", "true", "yes", "on", "allow", "force", "enable"})
_OFF = frozenset({"0", "false", "no", "off", "disable"})


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How one app is served.

    Attributes:
        framework: What the server is told of the program.
        origin: Scheme and host of the app's URL; None for what each request says.
        path: Of the app's URL; None for what each request says.
        streaming: Answer calls at once with 201, and with the outcome when it is there.
        in_band: Tell the configuration in the answer to a sync that asks for it.
        unsigned_sync: Whether anybody may have the app register in production. None: if the
            app's origin is configured, so that a forged `Host` cannot lead calls elsewhere.
        threads_max: For sync functions beside an event loop; 0 runs them on the loop.
    """

    framework: str
    origin: str | None = None
    path: str | None = None
    streaming: bool = False
    in_band: bool = True
    unsigned_sync: bool | None = None
    threads_max: int = SYNC_THREADS_DEFAULT

    @property
    def form(self) -> str:
        """How the program calls `serve`, for errors."""
        program = "app, " if self.framework in _INTO_A_PROGRAM else ""
        return f"stepwell.{self.framework}.serve({program}client, [function])"

    @property
    def takes_unsigned_sync(self) -> bool:
        """Whether a sync in production may go without a signature."""
        if self.unsigned_sync is None:
            return self.origin is not None
        return self.unsigned_sync


def resolve_options(
    *,
    framework: str,
    serve_origin: str | None = None,
    public_path: str | None = None,
    streaming: object = None,
    enable_unauthed_sync: bool | None = None,
    environ: Mapping[str, str] | None = None,
) -> ServeOptions:
    """Join options and environment.

    Args:
        streaming: A bool, or `"force"` or `"disable"`, also as an enumeration's value.
    Raises:
        ConfigError: Some value cannot be used; `url_invalid` for the origin.
    """
    environ = os.environ if environ is None else environ
    origin = serve_origin or setting("SERVE_ORIGIN", environ)
    value = getattr(streaming, "value", streaming)
    if value is None:
        value = setting("STREAMING", environ) or False
    in_band = _switch("ALLOW_IN_BAND_SYNC", environ)
    if enable_unauthed_sync is None:
        enable_unauthed_sync = _switch("ENABLE_UNAUTHED_SYNC", environ)
    return ServeOptions(
        framework=framework,
        origin=None if origin is None else _checked_origin(origin),
        path=None if public_path is None else with_slash(public_path),
        streaming=value if isinstance(value, bool) else _read_switch("streaming", value),
        in_band=True if in_band is None else in_band,
        unsigned_sync=enable_unauthed_sync,
        threads_max=_threads_max(environ),
    )


def serve_path_of(option: str | None, environ: Mapping[str, str] | None = None) -> str | None:
    """The path that the program or the environment gives to the app; None if neither does."""
    path = option or setting("SERVE_PATH", os.environ if environ is None else environ)
    return None if path is None else with_slash(path)


def route_of(option: str | None, environ: Mapping[str, str] | None = None) -> str:
    """The path under which a framework routes to the app."""
    return serve_path_of(option, environ) or SERVE_PATH_DEFAULT


def with_slash(path: str) -> str:
    """The path from the root on."""
    return path if path.startswith("/") else f"/{path}"


def _checked_origin(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and parts.path in ("", "/")
            and not parts.query
            and not parts.fragment
        )
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"serve_origin is {text!r}; it must be a scheme and a host, such as "
            "https://shop.example.com",
            code="url_invalid",
        )
    return text.rstrip("/")


def _switch(name: str, environ: Mapping[str, str]) -> bool | None:
    text = setting(name, environ)
    return None if text is None else _read_switch(f"STEPWELL_{name}", text)


def _read_switch(what: str, value: object) -> bool:
    text = value.lower() if isinstance(value, str) else ""
    if text not in _ON | _OFF:
        raise ConfigError(f"{what} is {value!r}; it must be true or false")
    return text in _ON


def _threads_max(environ: Mapping[str, str]) -> int:
    text = setting("THREAD_POOL_MAX_WORKERS", environ)
    if text is None:
        return SYNC_THREADS_DEFAULT
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(
            f"STEPWELL_THREAD_POOL_MAX_WORKERS is {text!r}; it must be a whole number, 0 to run "
            "sync functions on the event loop"
        )
    return int(text)
