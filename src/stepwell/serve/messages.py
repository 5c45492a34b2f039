"""Requests and responses, as no framework has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qsl, quote

import msgspec

QUERY_FIELDS_MAX: Final = 100
_PATH_SAFE = "/:@!$&'()*+,;=~"
_HOST = re.compile(r"(?:[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked.

    Attributes:
        origin: Scheme and host as the caller used them, such as `https://shop.example.com`.
        path: From the origin on, percent-encoded, without the query.
        query: The first value of each parameter.
        headers: By name in small letters.
        body: Empty while only the head is known.
    """

    method: str
    origin: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def announced_bytes(self) -> int | None:
        """How long the body is said to be; None if nothing is said that can be used."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered."""

    status: int
    headers: dict[str, str]
    body: bytes


def read_query(text: str) -> dict[str, str]:
    """The parameters of a query; none if it holds too many to be one of ours."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        return {}
    return dict(reversed(pairs))


def read_headers(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by name in small letters; the first of a name counts."""
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name.lower(), value)
    return found


def origin_of(scheme: str, host: str | None, fallback: tuple[str, int | None] | None) -> str:
    """An origin from what a request says of itself.

    Args:
        host: The `Host` header, which is the caller's to choose.
        fallback: The listening socket's name and port, for a header that names no host.
    """
    if host is None or not _HOST.fullmatch(host):
        name, port = fallback or ("localhost", None)
        host = f"[{name}]" if ":" in name else name
        if port is not None:
            host = f"{host}:{port}"
    return f"{scheme}://{host}"


def quoted_path(path: str | bytes) -> str:
    """A path as it stands in a URL."""
    return quote(path, safe=_PATH_SAFE)
