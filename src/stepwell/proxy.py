"""The proxy that the environment names for a server, read once rather than for each request.

`HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in either letter case, and what the system is set to
where Python can read that. A server on this machine is never reached through a proxy.
"""

from __future__ import annotations

import logging
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_log = logging.getLogger("stepwell")


def proxy_for(base_url: str) -> str | None:
    """The proxy for requests to this server, with credentials if it has some; None for none."""
    server = urlsplit(base_url)
    host = server.hostname or ""
    named = getproxies().get(server.scheme)
    if not named or is_loopback(host) or proxy_bypass(server.netloc.rpartition("@")[2]):
        return None
    url = named if "://" in named else f"http://{named}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        _log.warning(
            "the environment names a proxy for %s that is not an http:// address; it is not used",
            base_url,
        )
        return None
    return url


def is_loopback(host: str) -> bool:
    """Whether this is a name or an address of the machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return False
