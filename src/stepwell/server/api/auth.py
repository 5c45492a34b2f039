"""Who may do what: event keys for `/e/`, the signing key for the rest, nothing in dev mode.

Source: docs/reference/http-api.md, "Authentication".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response

from stepwell.wire.keys import bearer_matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from stepwell.server.api.refusals import RefusalLog
    from stepwell.server.settings import Settings

# `/dev` says 404 in start mode, in text: an SDK that probes it must not need a key to learn that
# this is not a dev server.
OPEN_PATHS = frozenset({"/health", "/ready", "/dev"})


EVENTS_PATH = "/e/"  # and the event key, which no log may have


class Gate:
    """Decides on requests by their path and headers, in constant time per key.

    What it refuses is in the log, with what was wrong and without the credential.
    """

    def __init__(self, settings: Settings, refusals: RefusalLog) -> None:
        self._refusals = refusals
        self._closed = settings.mode == "start"
        self._signing_keys = settings.signing_keys
        self._event_keys = tuple(_digest(key) for key in settings.event_keys)

    def knows_event_key(self, scope: Scope) -> bool:
        """Whether events may be sent with the key in this path; if not, that is in the log."""
        known = self.is_event_key(scope["path"].removeprefix(EVENTS_PATH))
        if not known:
            self._refusals.refused(
                path=EVENTS_PATH + "...", client=scope.get("client"), reason="unknown event key"
            )
        return known

    def is_event_key(self, key: str) -> bool:
        """Whether events may be sent with this key; dev mode takes any."""
        if not self._closed:
            return True
        digest = _digest(key)
        known = False
        for other in self._event_keys:  # to the end, so that time tells nothing
            known |= hmac.compare_digest(digest, other)
        return known

    def refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Response | None:
        """The 401 for a request without a valid credential, None for one that may pass."""
        path: str = scope["path"]
        if not self._closed or path in OPEN_PATHS:
            return None
        authorization = headers.get(b"authorization")
        given = None if authorization is None else authorization.decode("latin-1")
        if bearer_matches(given, self._signing_keys):
            return None
        refused = {"X-Content-Type-Options": "nosniff"}
        if is_page(path):
            password = _basic_password(given)
            if password and bearer_matches(f"Bearer {password}", self._signing_keys):
                return None
            refused["WWW-Authenticate"] = 'Basic realm="Stepwell", charset="UTF-8"'
        self._refusals.refused(
            path=path, client=scope.get("client"), reason=_reason(given, page=is_page(path))
        )
        return PlainTextResponse("Authentication failed", 401, refused)


def is_page(path: str) -> bool:
    """Whether people look at this path with a browser."""
    return path == "/" or path.startswith("/runs/")


def _reason(authorization: str | None, *, page: bool) -> str:
    """What is wrong with a credential that does not open this path; nothing of it is told."""
    if not authorization:
        return "no Authorization header"
    scheme = authorization.partition(" ")[0].lower()
    if scheme not in ("bearer", "basic") or (scheme == "basic" and not page):
        return "the Authorization header is not of the form `Bearer KEY`"
    return "unknown signing key"


def _basic_password(authorization: str | None) -> str | None:
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user_and_password = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return user_and_password.partition(":")[2]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
