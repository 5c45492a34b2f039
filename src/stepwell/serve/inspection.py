"""What an app says of itself when it is asked with GET.

Source: docs/reference/wire/http-sdk.md, "introspection".
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from stepwell.config import DEV_EVENT_KEY
from stepwell.serve.answers import kind_of
from stepwell.version import __version__
from stepwell.wire.keys import hash_signing_key

if TYPE_CHECKING:
    from stepwell.config import ClientSettings
    from stepwell.serve.options import ServeOptions

CAPABILITIES: Final = {"connect": "v1", "in_band_sync": "v1", "trust_probe": "v1"}
SDK_LANGUAGE: Final = "py"
SDK_AUTHOR: Final = "stepwell"
_SCHEMA_VERSION = "2024-05-24"
_HASH_CHARS = 12
"""The whole hash of a signing key is a credential of the API; this much tells two keys apart."""


def inspection(
    *,
    app_id: str,
    settings: ClientSettings,
    options: ServeOptions,
    function_count: int,
    is_verified: bool,
) -> dict[str, Any]:
    """What may be told.

    Args:
        is_verified: The request was signed with a key of ours.
    """
    told: dict[str, Any] = {
        "authentication_succeeded": True if is_verified else None,
        "extra": {"is_streaming": options.streaming},
        "function_count": function_count,
        "has_event_key": settings.event_key not in (None, DEV_EVENT_KEY),
        "has_signing_key": settings.signing_key is not None,
        "has_signing_key_fallback": settings.signing_key_fallback is not None,
        "mode": kind_of(settings),
        "schema_version": _SCHEMA_VERSION,
    }
    if is_verified:
        told |= {
            "api_origin": settings.api_base_url,
            "app_id": app_id,
            "capabilities": CAPABILITIES,
            "env": settings.env,
            "event_api_origin": settings.event_api_base_url,
            "event_key_hash": _event_key_hash(settings.event_key),
            "framework": options.framework,
            "sdk_language": SDK_LANGUAGE,
            "sdk_version": __version__,
            "serve_origin": options.origin,
            "serve_path": options.path,
            "signing_key_hash": _short_hash(settings.signing_key),
            "signing_key_fallback_hash": _short_hash(settings.signing_key_fallback),
        }
    return told


def _short_hash(key: str | None) -> str | None:
    return None if key is None else hash_signing_key(key)[:_HASH_CHARS]


def _event_key_hash(key: str | None) -> str | None:
    return None if key is None else hashlib.sha256(key.encode()).hexdigest()
