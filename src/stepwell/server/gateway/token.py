"""Session tokens: proof that the caller of `/v0/connect/start` is the one who opens the socket.

A token is opaque to SDKs, so its form is ours: the expiry and an HMAC over connection id and
expiry. It is bound to its connection id; a token of one start call opens no other connection.
Road not taken: a JWT as upstream sends. It would carry claims that nobody reads, and cost a
dependency. Source: docs/reference/wire/connect.md, "start".
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, urlsafe_b64encode

SESSION_TOKEN_MS = 5 * 60_000
"""How long a worker may take from the start request to WORKER_CONNECT."""

_EXPIRY_BYTES = 8
_PURPOSE = b"stepwell connect session\0"  # The installation secret signs other things too.


def mint_session_token(*, secret: bytes, connection_id: str, now_ms: int) -> str:
    """Make the token that opens `connection_id` until five minutes from now."""
    expiry = (now_ms + SESSION_TOKEN_MS).to_bytes(_EXPIRY_BYTES, "big")
    return urlsafe_b64encode(expiry + _mac(secret, connection_id, expiry)).decode("ascii")


def session_token_valid(token: str, *, secret: bytes, connection_id: str, now_ms: int) -> bool:
    """Whether `token` was minted here for `connection_id` and has not expired.

    Takes the same time for every wrong token of a given length.
    """
    try:
        raw = b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return False
    expiry, mac = raw[:_EXPIRY_BYTES], raw[_EXPIRY_BYTES:]
    if not hmac.compare_digest(mac, _mac(secret, connection_id, expiry)):
        return False
    return now_ms < int.from_bytes(expiry, "big")


def _mac(secret: bytes, connection_id: str, expiry: bytes) -> bytes:
    return hmac.digest(secret, _PURPOSE + connection_id.encode() + b"\0" + expiry, "sha256")
