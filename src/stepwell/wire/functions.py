"""Registration: what an app says of itself and its functions, however it came.

Source: docs/reference/wire/registration.md.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import msgspec

from stepwell.errors import WireError
from stepwell.wire.app_urls import normal_url
from stepwell.wire.fields import FieldNames, without_nulls
from stepwell.wire.function_config import (
    EVENT_NAME_CHARS_MAX,
    NAME_CHARS_MAX,
    RETRIES_MAX,
    TRIGGERS_MAX,
    Cancel,
    Equality,
    FunctionConfig,
    Trigger,
    function_invalid,
    parse_equality,
    parse_function,
    read_function,
)
from stepwell.wire.json import Json, canonical, decode, decode_with, encode
from stepwell.wire.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "EVENT_NAME_CHARS_MAX",
    "NAME_CHARS_MAX",
    "RETRIES_MAX",
    "TRIGGERS_MAX",
    "Cancel",
    "Equality",
    "FunctionConfig",
    "Registration",
    "Trigger",
    "parse_connect_app",
    "parse_equality",
    "parse_function",
    "parse_in_band",
    "parse_register",
]


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """An app with all its functions. Equal checksums mean equal content."""

    app_name: str
    app_version: str
    url: str
    sdk: str
    framework: str
    platform: str
    method: Literal["connect", "serve"]
    functions: tuple[FunctionConfig, ...]
    checksum: str

    @property
    def version_name(self) -> str:
        """What tells this version of the app from others: its own word, else its content."""
        return self.app_version or self.checksum[:12]


def parse_register(body: bytes) -> Registration:
    """Read the body of `POST /fn/register`.

    Raises:
        WireError: `registration_invalid`, `app_id_missing`, `function_invalid`,
            `function_unsupported`.
    """
    try:
        given = decode_with(_OBJECT, body)
    except WireError as error:
        raise _refused(error.message) from error
    return _registration(without_nulls(_FIELDS.spell(given)))


def parse_in_band(body: bytes, *, url: str) -> Registration:
    """Read the configuration that an app gave in answer to a sync.

    Args:
        url: Where it was asked, which counts if it does not say where it is.
    Raises:
        WireError: As `parse_register`.
    """
    try:
        given = decode_with(_OBJECT, body)
    except WireError as error:
        raise _refused(error.message) from error
    fields = without_nulls(_IN_BAND_FIELDS.spell(given))
    language, version = _text(fields, "sdk_language"), _text(fields, "sdk_version")
    return _registration(
        {
            "appName": fields.get("app_id"),
            "appVersion": fields.get("appVersion"),
            "url": _text(fields, "url") or url,
            "deployType": "ping",
            "sdk": f"{language}:{version if version.startswith('v') else 'v' + version}",
            "framework": fields.get("framework"),
            "headers": {"env": fields.get("env"), "platform": fields.get("platform")},
            "functions": fields.get("functions"),
            "capabilities": fields.get("capabilities"),
        }
    )


def parse_connect_app(
    *,
    app_name: str,
    app_version: str | None,
    functions: bytes,
    sdk_language: str,
    sdk_version: str,
    framework: str,
    platform: str,
    capabilities: bytes,
) -> Registration:
    """Read what a worker announced of one app.

    Raises:
        WireError: As `parse_register`.
    """
    return _registration(
        {
            "appName": app_name,
            "appVersion": app_version or "",
            "url": f"ws://connect?app_name={app_name}",
            "deployType": "connect",
            "sdk": f"{sdk_language}:{sdk_version}",
            "framework": framework,
            "headers": {"platform": platform},
            "functions": _part("functions", functions),
            "capabilities": _part("capabilities", capabilities or b"{}"),
        }
    )


_OBJECT = msgspec.json.Decoder(dict[str, Json])
_FIELDS = FieldNames(
    (
        "url",
        "deployType",
        "deploy_type",  # one SDK's spelling
        "sdk",
        "framework",
        "appName",
        "appVersion",
        "functions",
        "headers",
        "capabilities",
    )
)
_IN_BAND_FIELDS = FieldNames(
    (
        "app_id",
        "appVersion",
        "capabilities",
        "env",
        "framework",
        "functions",
        "platform",
        "sdk_language",
        "sdk_version",
        "url",
    )
)
_HEADER_FIELDS = FieldNames(("env", "platform"))


def _part(name: str, raw: bytes) -> Json:
    try:
        return decode(raw)
    except WireError as error:
        raise _refused(f"{name}: {error.message}") from error


def _registration(fields: dict[str, Json]) -> Registration:
    app_name = _text(fields, "appName")
    if not app_name:
        raise WireError("App ID required", code="app_id_missing")
    app_version = _text(fields, "appVersion")
    if max(len(app_name), len(app_version)) > NAME_CHARS_MAX:
        raise _refused(f"appName and appVersion may have {NAME_CHARS_MAX} characters each")
    given = fields.get("functions")
    if not isinstance(given, list):
        raise _refused("functions must be an array")
    headers = without_nulls(_HEADER_FIELDS.spell(_object(fields, "headers")))
    capabilities = _object(fields, "capabilities")
    method = _method(fields)
    functions = tuple([read_function(entry, f" {number}") for number, entry in enumerate(given, 1)])
    _check_unique(functions)
    registration = Registration(
        app_name=app_name,
        app_version=app_version,
        url=normal_url(_text(fields, "url")),
        sdk=_text(fields, "sdk"),
        framework=_text(fields, "framework"),
        platform=_text(headers, "platform"),
        method=method,
        functions=functions,
        checksum="",
    )
    return msgspec.structs.replace(
        registration, checksum=_checksum(registration, headers, capabilities)
    )


def _checksum(
    registration: Registration, headers: dict[str, Json], capabilities: dict[str, Json]
) -> str:
    """SHA-256 of all that was understood: not of usage figures, spelling or order of keys."""
    content = {
        **msgspec.structs.asdict(registration),
        "functions": [function.raw for function in registration.functions],
        "headers": headers,
        "capabilities": capabilities,
    }
    try:
        return hashlib.sha256(canonical(encode(content))).hexdigest()
    except WireError as error:
        raise _refused(error.message) from error


def _method(fields: dict[str, Json]) -> Literal["connect", "serve"]:
    text = _text(fields, "deployType") or _text(fields, "deploy_type") or "ping"
    match text.lower():
        case "ping":
            return "serve"
        case "connect":
            return "connect"
        case _:
            raise _refused(f"deployType is {quoted(text)}; it must be ping or connect")


def _check_unique(functions: Sequence[FunctionConfig]) -> None:
    seen: set[str] = set()
    for function in functions:
        if function.slug in seen:
            raise function_invalid(
                f" {quoted(function.slug)}", "another function of the app has the same id"
            )
        seen.add(function.slug)


def _text(fields: dict[str, Json], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _refused(f"{name} must be a text")
    return value


def _object(fields: dict[str, Json], name: str) -> dict[str, Json]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _refused(f"{name} must be an object")
    return value


def _refused(reason: str) -> WireError:
    return WireError(f"Invalid request: {reason}", code="registration_invalid")
