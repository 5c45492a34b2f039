"""The URLs of apps that are served over HTTP: one spelling for each place.

Source: docs/reference/wire/http-sdk.md, "URLs".
"""

from __future__ import annotations

from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HERE = frozenset({"127.0.0.1", "0.0.0.0"})
_DROPPED = frozenset({"deployId", "probe"})


def normal_url(url: str) -> str:
    """The URL as it is stored, compared and called. What is not an http URL stays as it is.

    Deploy ids and probes are dropped, and so is a port that goes without saying; this machine in
    numbers, with a port, becomes `localhost`; query parameters are sorted.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return url
    query = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in _DROPPED
    ]
    return SplitResult(
        scheme=parts.scheme,
        netloc=_netloc(parts, parts.hostname),
        path=parts.path,
        query=urlencode(sorted(query)),
        fragment="",
    ).geturl()


def with_step(url: str, step_id: str) -> str:
    """A function's URL for a call of this step: `stepId` is replaced, `fnId` stays."""
    parts = urlsplit(normal_url(url))
    query = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name != "stepId"
    ]
    return parts._replace(query=urlencode(sorted([*query, ("stepId", step_id)]))).geturl()


def host_of(url: str) -> str:
    """Host and port, for those that share a machine; the text itself if it has none."""
    parts = _split(url)
    if parts is None or not parts.hostname:
        return url
    return f"{parts.hostname}:{parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)}"


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # may raise too
    except ValueError:
        return None
    return parts


def _netloc(parts: SplitResult, host: str) -> str:
    port = parts.port
    if host in _HERE and port is not None:
        host = "localhost"
    shown = f"[{host}]" if ":" in host else host
    user = parts.netloc.rpartition("@")[0]
    at = f"{user}@" if user else ""
    if port is None or port == _DEFAULT_PORTS[parts.scheme]:
        return at + shown
    return f"{at}{shown}:{port}"
