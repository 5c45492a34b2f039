"""Where a redirect leads, and what of the request goes with it.

Two rules. A call to an app keeps its method, its body and its headers: it is signed as it is, and
it goes where the app's own answer says; the query parameters that name function and step are added
when the app's answer forgot them. A request that a function asked for follows what browsers do,
and takes nothing along to another host that may be a secret.

Neither leaves TLS: what was sent encrypted is not sent again in the clear.
Source: docs/reference/outbound.md; RFC 9110, section 15.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import msgspec

from stepwell.errors import OutboundError

if TYPE_CHECKING:
    from collections.abc import Mapping

REDIRECTS_MAX = 10
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})

_HARMLESS = frozenset({"accept", "accept-language", "content-type", "user-agent"})
"""Headers that another host may see. Any other one may hold a key."""


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """One request on the way to the last answer."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None


def next_hop(hop: Hop, *, status: int, location: str, keeps_all: bool) -> Hop:
    """The request that a redirect asks for.

    Args:
        location: As the answer's header says, perhaps relative.
        keeps_all: The request goes on as it is, or not at all.
    Raises:
        OutboundError: `outbound_redirect_refused`.
    """
    url = _target(hop.url, location)
    if keeps_all:
        if status == 303:
            raise _refused(f"{hop.url} answered 303, which asks for another method")
        return msgspec.structs.replace(hop, url=_with_query(url, hop.url))
    headers, method, body = hop.headers, hop.method, hop.body
    if status == 303 or (status in (301, 302) and method == "POST"):
        method, body = ("HEAD" if method == "HEAD" else "GET"), None
        headers = _without(headers, "content-type", "content-encoding", "content-length")
    if not _is_same_origin(url, hop.url):
        headers = {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
    return Hop(method=method, url=url, headers=headers, body=body)


def _target(base: str, location: str) -> str:
    try:
        url = urljoin(base, location)
        parts, before = urlsplit(url), urlsplit(base)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise _refused(f"{base} redirects to {location[:200]!r}, which cannot be read") from error
    if not usable:
        raise _refused(f"{base} redirects to {location[:200]!r}, which is not an http address")
    if before.scheme == "https" and parts.scheme == "http":
        raise _refused(f"{base} redirects to {url}, out of TLS")
    return url.partition("#")[0]


def _with_query(url: str, before: str) -> str:
    """Add the parameters that were there before and are not there now."""
    parts = urlsplit(url)
    here = parse_qsl(parts.query, keep_blank_values=True)
    names = {name for name, _ in here}
    missing = [
        (name, value)
        for name, value in parse_qsl(urlsplit(before).query, keep_blank_values=True)
        if name not in names
    ]
    return parts._replace(query=urlencode([*here, *missing])).geturl() if missing else url


def _is_same_origin(one: str, other: str) -> bool:
    return _origin(one) == _origin(other)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def _without(headers: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in names}


def _refused(text: str) -> OutboundError:
    return OutboundError(text, code="outbound_redirect_refused")
