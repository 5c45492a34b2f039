"""The first message of a worker: WORKER_CONNECT, checked in the order the protocol fixes.

Source: docs/reference/wire/connect.md, "handshake".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec
from google.protobuf.message import DecodeError

from stepwell.errors import WireError
from stepwell.wire.connect import STEPWELL_CAPABILITY, WorkerConnectRequestData
from stepwell.wire.ids import parse_ulid, ulid_ms
from stepwell.wire.json import decode

APPS_MAX = 10
"""Of one connection, unless `--connect-apps-max` says otherwise."""

FIELDS_MAX = 1_000
"""Of the message itself. A field is two bytes at least and becomes an object of many, and who
sends it has not authenticated: so the fields are counted before they are read."""

Authenticate: TypeAlias = Callable[[str, str, str], bool]
"""(connection id, session token, sync token) -> whether this worker may connect.

It raises `WireError` with the close reason if the tokens are right and there is no room."""

INVALID_PAYLOAD = "connect_worker_hello_invalid_payload"
AUTHENTICATION_FAILED = "connect_authentication_failed"
TOO_MANY_APPS = "connect_too_many_apps_per_connection"


class HelloApp(msgspec.Struct, frozen=True, kw_only=True):
    """One app as announced. `functions` is the JSON as it came, not yet looked at."""

    name: str
    version: str | None
    functions: bytes


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker said of itself. `limit` is None when it takes any number of calls.

    `is_ours`: it knows the extensions of the protocol.
    """

    connection_id: str
    started_ms: int
    instance_id: str
    apps: tuple[HelloApp, ...]
    capabilities: bytes
    is_ours: bool
    manual_readiness: bool
    limit: int | None
    environment: str
    framework: str
    platform: str
    sdk_language: str
    sdk_version: str
    os: str
    cpu_cores: int
    mem_bytes: int

    @property
    def listens_late(self) -> bool:
        """It drops calls that come in one read with the message that it is ready.

        Version 3 of the official TypeScript SDK: it begins to listen for calls a moment after it
        has read that message. Version 4 says by itself when it is ready.
        """
        return self.sdk_language == "typescript" and not self.manual_readiness


def read_hello(payload: bytes, authenticate: Authenticate, apps_max: int = APPS_MAX) -> Hello:
    """Decode and check the payload of WORKER_CONNECT.

    Args:
        apps_max: How many apps a connection may carry.
    Returns:
        The hello of a worker that may connect; its functions and capabilities are not checked.
    Raises:
        WireError: The first failed check; its code is the close reason.
    """
    if _has_more_fields(payload, FIELDS_MAX):
        raise WireError(f"WORKER_CONNECT has over {FIELDS_MAX} fields", code=INVALID_PAYLOAD)
    try:
        data = WorkerConnectRequestData.FromString(payload)
    except DecodeError as error:
        raise WireError("WORKER_CONNECT is not decodable", code=INVALID_PAYLOAD) from error
    try:
        started_ms = ulid_ms(parse_ulid(data.connection_id))
    except WireError as error:
        raise WireError("the connection id is not a ULID", code=INVALID_PAYLOAD) from error
    if not data.instance_id:
        raise WireError("the instance id is empty", code=INVALID_PAYLOAD)
    auth = data.auth_data
    if not authenticate(data.connection_id, auth.session_token, auth.sync_token):
        raise WireError("a token is missing, wrong or expired", code=AUTHENTICATION_FAILED)
    if not data.apps:
        raise WireError("the worker announces no app", code=INVALID_PAYLOAD)
    if len(data.apps) > apps_max:
        raise WireError(
            f"a connection carries at most {apps_max} apps, not {len(data.apps)}",
            code=TOO_MANY_APPS,
        )
    limited = data.HasField("max_worker_concurrency") and data.max_worker_concurrency > 0
    host = data.system_attributes
    return Hello(
        connection_id=data.connection_id,
        started_ms=started_ms,
        instance_id=data.instance_id,
        apps=tuple(
            HelloApp(
                name=app.app_name,
                version=app.app_version if app.HasField("app_version") else None,
                functions=app.functions,
            )
            for app in data.apps
        ),
        capabilities=data.capabilities,
        is_ours=_is_ours(data.capabilities),
        manual_readiness=data.worker_manual_readiness_ack,
        limit=data.max_worker_concurrency if limited else None,
        environment=data.environment,
        framework=data.framework,
        platform=data.platform,
        sdk_language=data.sdk_language,
        sdk_version=data.sdk_version,
        os=host.os,
        cpu_cores=host.cpu_cores,
        mem_bytes=host.mem_bytes,
    )


def _is_ours(capabilities: bytes) -> bool:
    try:
        declared = decode(capabilities)
    except WireError:
        return False
    return isinstance(declared, dict) and declared.get(STEPWELL_CAPABILITY) == "v1"


def _has_more_fields(message: bytes, most: int) -> bool:
    """Whether a serialised message has more than `most` fields, not counting those inside them.

    Bytes that are no message have no more than were seen until then: the decoder refuses them.
    """
    place, count = 0, 0
    while place < len(message):
        count += 1
        if count > most:
            return True
        tag, place = _varint(message, place)
        match tag & 7:
            case 0:
                _, place = _varint(message, place)
            case 1:
                place += 8
            case 2:
                size, place = _varint(message, place)
                place += size
            case 5:
                place += 4
    return False


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """The number at `place`, and the place behind it. What is cut off or too long ends there."""
    number = 0
    for shift, byte in enumerate(message[place : place + 10]):
        number |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return number, place + shift + 1
    return number, len(message)
