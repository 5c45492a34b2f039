"""An app as `connect` and `serve` take it: a client that may run functions, and the functions.

What is checked here are mistakes of the program; each error shows the right form.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from stepwell.client import Client
from stepwell.errors import ConfigError
from stepwell.function import Function
from stepwell.proxy import is_loopback
from stepwell.wire.keys import validate_signing_key

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_client(client: Client, form: str) -> None:
    """Refuse a client that must not run functions.

    Without a key everybody who reaches the program could call them. That is as it should be beside
    a development server on this machine; with a server elsewhere the key was forgotten.

    Args:
        form: How the call should look.
    Raises:
        ConfigError: It is no client; `base_url_missing`; `signing_key_missing`, if there is no
            key, the server is not on this machine, and nothing says that it is one for
            development; `signing_key_invalid`.
    """
    if not isinstance(client, Client):
        raise ConfigError(f"a {_kind(client)} stands where the client belongs; write {form}")
    settings = client.settings
    if settings.api_base_url is None:
        raise ConfigError(
            "this client has no server: pass api_base_url= or set STEPWELL_BASE_URL",
            code="base_url_missing",
        )
    host = urlsplit(settings.api_base_url).hostname or ""
    if settings.is_mode_guessed and not is_loopback(host):
        raise ConfigError(
            f"the server {settings.api_base_url} is not on this machine, and there is no signing "
            "key, without which anybody could call the functions: pass signing_key= or set "
            "STEPWELL_SIGNING_KEY; if it is a development server set STEPWELL_DEV=1",
            code="signing_key_missing",
        )
    for key in settings.signing_keys:
        validate_signing_key(key)


def functions_by_id(
    client: Client, functions: Sequence[Function[Any]], form: str
) -> dict[str, Function[Any]]:
    """All functions, with those that handle failures, by their id on the server.

    Args:
        form: How the call should look.
    Raises:
        ConfigError: Something else was given; `functions_missing`, `functions_conflict`.
    """
    if not isinstance(functions, Collection) or isinstance(functions, str | bytes):
        raise ConfigError(
            f"a {_kind(functions)} stands where the functions of app {client.app_id!r} belong; "
            f"write {form}"
        )
    if not functions:
        raise ConfigError(f"app {client.app_id!r} has no functions", code="functions_missing")
    found: dict[str, Function[Any]] = {}
    for declared in functions:
        _check_declared(client, declared, form)
        for function in declared.with_failure_handler():
            if function.id in found:
                raise ConfigError(
                    f"app {client.app_id!r} has two functions named {function.id!r}",
                    code="functions_conflict",
                )
            found[function.id] = function
    return found


def check_program(program: object, kinds: tuple[type, ...], form: str) -> None:
    """Refuse a web program of another framework.

    Args:
        kinds: What it may be; the first is what it mostly is.
        form: How the call should look.
    """
    if not isinstance(program, kinds):
        raise ConfigError(
            f"a {_kind(program)} stands where a {kinds[0].__name__} belongs; write {form}"
        )


def _check_declared(client: Client, declared: Function[Any], form: str) -> None:
    if not isinstance(declared, Function):
        name = getattr(declared, "__name__", None)
        raise ConfigError(
            f"{name or f'a {_kind(declared)}'} is given as a function of app {client.app_id!r} and "
            f'is not declared as one: decorate it with @client.function("{name or "ship"}", '
            f'event="order/paid"), for example, and write {form}'
        )
    if declared.app_id != client.app_id:
        raise ConfigError(
            f"function {declared.id!r} belongs to app {declared.app_id!r}, not to "
            f"{client.app_id!r}",
            code="functions_conflict",
        )


def _kind(given: object) -> str:
    return type(given).__name__
