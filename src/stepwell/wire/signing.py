"""Signatures of requests and responses.

`t=<unix seconds>&s=<hex>`, where `s` is HMAC-SHA256 over the body followed by the decimal digits
of `t`; the HMAC's key is the signing key's digits as text, without its prefix.
Source: docs/reference/wire/signing.md, "signatures".
"""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from stepwell.errors import AuthError, WireError
from stepwell.wire.json import canonical
from stepwell.wire.keys import strip_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = "X-Inngest-Signature"

SKEW_S = 300
"""How far the signer's clock may be from ours, either way."""

_FORM = re.compile(r"t=([0-9]{1,12})&s=([0-9a-f]{64})")


def sign(body: bytes, *, key: str, unix_s: int) -> str:
    """The header's value for a body.

    Args:
        body: Exactly the bytes to be signed: the RFC 8785 form of a request, a response as sent.
    """
    return f"t={unix_s}&s={_mac(body, key, str(unix_s))}"


def verify(
    body: bytes, header: str | None, *, keys: Sequence[str], now_s: int, skew_s: int = SKEW_S
) -> str:
    """Check a header against a body.

    Returns:
        The key that signed it.
    Raises:
        AuthError: `signature_missing`; `signature_invalid` for one that is malformed, made with
            another key or over another body, or made more than `skew_s` seconds away from now.
    """
    if not header:
        raise AuthError(f"the request has no {HEADER} header", code="signature_missing")
    found = _FORM.fullmatch(header)
    if found is None:
        raise AuthError(
            f"{HEADER} must look like t=<unix seconds>&s=<64 hex digits>", code="signature_invalid"
        )
    unix_text, given = found.groups()
    signer = None
    for key in keys:  # to the end, so that time tells nothing
        if hmac.compare_digest(given, _mac(body, key, unix_text)) and signer is None:
            signer = key
    if signer is None:
        raise AuthError("the signature was not made with a known key", code="signature_invalid")
    if abs(now_s - int(unix_text)) > skew_s:
        raise AuthError(
            f"the signature is {now_s - int(unix_text)} s old; at most {skew_s} s are allowed, "
            "either way: check both clocks",
            code="signature_invalid",
        )
    return signer


def verify_json(
    body: bytes, header: str | None, *, keys: Sequence[str], now_s: int, skew_s: int = SKEW_S
) -> str:
    """Check a header against a JSON body, whatever happened to its formatting on the way.

    What was signed is the canonical form, and mostly that is what comes; only another body is
    brought into that form here. An empty body is signed as it is.

    Returns:
        The key that signed it.
    Raises:
        AuthError: As `verify`.
    """
    try:
        return verify(body, header, keys=keys, now_s=now_s, skew_s=skew_s)
    except AuthError:
        if not header or not body:
            raise
        try:
            form = canonical(body)
        except WireError:
            form = body
        if form == body:
            raise
    return verify(form, header, keys=keys, now_s=now_s, skew_s=skew_s)


def _mac(body: bytes, key: str, unix_text: str) -> str:
    secret = strip_prefix(key).encode()
    return hmac.digest(secret, body + unix_text.encode(), "sha256").hex()
