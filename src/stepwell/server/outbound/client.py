"""Makes one request and reads its whole answer, within the policy.

aiohttp is imported by the first request: a server that calls nobody does without it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from stepwell.errors import OutboundError
from stepwell.server.outbound.addresses import refusal
from stepwell.server.outbound.body import ACCEPT_ENCODING
from stepwell.server.outbound.redirects import REDIRECT_STATUSES, REDIRECTS_MAX, Hop, next_hop
from stepwell.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stepwell.server.outbound.addresses import Profile
    from stepwell.server.outbound.pool import Pool, Resolve

USER_AGENT = f"Stepwell/{__version__}"
BYTES_MAX = 8 * 2**20


class OutboundResponse(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, whatever its status.

    Attributes:
        headers: Names in small letters; what came several times is joined with commas.
        body: Unpacked.
        url: Where the answer came from, after redirects.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    url: str


class OutboundClient:
    """Requests of one profile over a pool of connections. All methods run on one loop.

    Args:
        profile: Which addresses may be reached.
        keeps_all: A redirected request goes on as it is; see `redirects`.
        resolve: Looks a name up, in place of the system.
    """

    def __init__(
        self, profile: Profile, *, keeps_all: bool = False, resolve: Resolve | None = None
    ) -> None:
        self._profile = profile
        self._keeps_all = keeps_all
        self._resolve = resolve
        self._pool: Pool | None = None
        self._closed = False

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout_s: float,
        bytes_max: int = BYTES_MAX,
    ) -> OutboundResponse:
        """Make a request; any status is an answer.

        Args:
            timeout_s: For all of it: name, connection, redirects, the whole body.
            bytes_max: Of the answer's body, unpacked.
        Raises:
            OutboundError: `outbound_url_invalid`, `outbound_address_refused`,
                `outbound_unreachable`, `outbound_timeout`, `outbound_too_large`,
                `outbound_redirect_refused` or `outbound_answer_invalid`.
        """
        given = {"User-Agent": USER_AGENT, **headers, "Accept-Encoding": ACCEPT_ENCODING}
        hop = Hop(method=method.upper(), url=url, headers=given, body=body)
        pool = self._open()
        try:
            async with asyncio.timeout(timeout_s):
                for _ in range(REDIRECTS_MAX + 1):
                    self._check(hop.url)
                    response = await pool.fetch(hop, bytes_max)
                    location = response.headers.get("location")
                    if response.status not in REDIRECT_STATUSES or not location:
                        return response
                    hop = next_hop(
                        hop,
                        status=response.status,
                        location=location,
                        keeps_all=self._keeps_all,
                    )
        except TimeoutError as error:
            raise OutboundError(
                f"{hop.url} did not answer within {timeout_s:g} s", code="outbound_timeout"
            ) from error
        raise OutboundError(
            f"{url} leads on more than {REDIRECTS_MAX} times", code="outbound_redirect_refused"
        )

    async def close(self) -> None:
        """Close all connections. Idempotent; requests under way fail."""
        self._closed = True
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    def _open(self) -> Pool:
        if self._closed:
            raise OutboundError("the server is stopping", code="outbound_unreachable")
        if self._pool is None:
            from stepwell.server.outbound.pool import Pool

            self._pool = Pool(self._profile, self._resolve)
        return self._pool

    def _check(self, url: str) -> None:
        """Refuse what no connection is needed to refuse. Names are checked once resolved."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise _invalid(url, str(error)) from error
        if parts.scheme not in ("http", "https"):
            raise _invalid(url, "it must begin with http:// or https://")
        if not host or port == 0:
            raise _invalid(url, "it names no host")
        if parts.username is not None or parts.password is not None:
            raise _invalid(url, "it holds a user name; send a header instead", shown=False)
        if is_numeric(host) and (reason := refusal(host, self._profile)) is not None:
            raise address_refused(url, host, reason)


def is_numeric(host: str) -> bool:
    """Whether this is an address in numbers rather than a name, in whatever notation.

    The last label of a name is never a number, so `0x7f.1` and `2130706433` are addresses too.
    """
    if ":" in host:
        return True
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last.isdigit() or last.startswith("0x")


def address_refused(url: str, address: str, reason: str) -> OutboundError:
    """The error for an address that the profile does not allow."""
    return OutboundError(
        f"{url} is at {address}, which may not be reached: {reason}",
        code="outbound_address_refused",
    )


def _invalid(url: str, reason: str, *, shown: bool = True) -> OutboundError:
    what = repr(url[:200]) if shown else "the URL"
    return OutboundError(f"{what} cannot be requested: {reason}", code="outbound_url_invalid")
