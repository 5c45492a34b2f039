"""What an app tells the server of its functions, and what becomes of the server's answer.

Out of band, the app posts it to the server and passes the server's answer on to whoever asked for
the sync. In band, the app tells it in the answer.
Source: docs/reference/wire/registration.md; http-sdk.md, "syncs".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell.config import SDK_NAME
from stepwell.errors import StepwellError, WireError
from stepwell.serve.answers import environment_headers, platform_of
from stepwell.serve.inspection import CAPABILITIES, SDK_AUTHOR, SDK_LANGUAGE
from stepwell.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stepwell.client import Client
    from stepwell.function import Function
    from stepwell.serve.orders import Registered

SYNC_KIND: Final = "X-Inngest-Sync-Kind"
IN_BAND: Final = "in_band"
OUT_OF_BAND: Final = "out_of_band"

_REGISTER_VERSION = "0.1"
_SAID_CHARS_MAX = 1_000
_ENCODER = msgspec.json.Encoder()
_OBJECT = msgspec.json.Decoder(dict[str, Any])


def register_body(
    client: Client, functions: Iterable[Function[Any]], *, url: str, framework: str
) -> bytes:
    """The body of `POST /fn/register`."""
    body: dict[str, Any] = {
        "url": url,
        "v": _REGISTER_VERSION,
        "deployType": "ping",
        "sdk": f"{SDK_LANGUAGE}:v{__version__}",
        "framework": framework,
        "appName": client.app_id,
        "functions": _configurations(functions, url),
        "capabilities": CAPABILITIES,
    }
    if client.settings.app_version is not None:
        body["appVersion"] = client.settings.app_version
    return _ENCODER.encode(body)


def register_headers(client: Client, *, framework: str, server_kind: str | None) -> dict[str, str]:
    """Its headers, all but the credential.

    Args:
        server_kind: What the server that asks for the sync calls itself.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": SDK_NAME,
        "X-Inngest-SDK": SDK_NAME,
        "X-Inngest-Framework": framework,
        SYNC_KIND: OUT_OF_BAND,
        **environment_headers(client.settings),
    }
    if server_kind:
        headers["X-Inngest-Expected-Server-Kind"] = server_kind
    return headers


def in_band_body(
    client: Client,
    functions: Iterable[Function[Any]],
    *,
    url: str,
    framework: str,
    inspection: Mapping[str, Any],
    environ: Mapping[str, str],
) -> bytes:
    """The configuration as the answer to a sync."""
    return _ENCODER.encode(
        {
            "app_id": client.app_id,
            "appVersion": client.settings.app_version,
            "capabilities": CAPABILITIES,
            "env": client.settings.env,
            "framework": framework,
            "functions": _configurations(functions, url),
            "inspection": inspection,
            "platform": platform_of(environ),
            "sdk_author": SDK_AUTHOR,
            "sdk_language": SDK_LANGUAGE,
            "sdk_version": __version__,
            "url": url,
        }
    )


def accepted(registered: Registered) -> bytes:
    """The server's answer, if it took the registration.

    Raises:
        WireError: `registration_refused` or the server's own code, if it did not.
        StepwellError: `not_a_server`, `server_unreachable`.
    """
    try:
        said = _OBJECT.decode(registered.body)
    except msgspec.DecodeError:
        said = None
    status = registered.status
    if 200 <= status < 300:
        if said is None:
            raise StepwellError(
                "something answered the registration, but not as a server does; is the base URL "
                "right?",
                code="not_a_server",
                status=502,
            )
        return registered.body
    text = _text(said, "error") or _text(said, "message") or _shown(registered.body)
    if 400 <= status < 500:
        raise WireError(
            f"the server refused the registration with {status}: {text}",
            code=_text(said, "code") or "registration_refused",
        )
    raise StepwellError(
        f"the server answered the registration with {status}: {text}",
        code="server_unreachable",
        status=502,
    )


def _configurations(functions: Iterable[Function[Any]], url: str) -> list[dict[str, Any]]:
    return [function.configuration(url) for function in functions]


def _text(said: dict[str, Any] | None, name: str) -> str:
    value = (said or {}).get(name)
    return value[:_SAID_CHARS_MAX] if isinstance(value, str) else ""


def _shown(body: bytes) -> str:
    return body[:_SAID_CHARS_MAX].decode("utf-8", "replace").strip() or "no reason given"
