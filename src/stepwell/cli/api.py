"""The server's HTTP API, as commands use it: blocking, one connection, errors in plain words."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from stepwell.errors import AuthError, StepwellError, WireError
from stepwell.version import __version__
from stepwell.wire.keys import bearer_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stepwell.config import ClientSettings

TIMEOUT_S = 30.0
PAGE = 100  # The most that one page of the API holds.
KIND_HEADER = "X-Inngest-Server-Kind"  # On every answer of ours, whatever its status.


class Unreachable(StepwellError):
    """Nobody answers at the server's address, or the connection broke."""

    code = "server_unreachable"
    status = 503


class NotFound(StepwellError):
    """The server has nothing of that name."""

    code = "not_found"
    status = 404


class Api:
    """One server. The connection is opened by the first request and kept for the next ones."""

    def __init__(self, settings: ClientSettings, *, timeout_s: float = TIMEOUT_S) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._open: dict[str, http.client.HTTPConnection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Idempotent; a later request opens a new one."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def get(self, path: str, query: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
        """The whole answer to a GET, which is a JSON object.

        Raises:
            Unreachable: Nothing answers there.
            AuthError: The server wants another signing key.
            NotFound: 404.
            WireError: Any other refusal, or an answer that is not this API's.
        """
        pairs = list(query)
        return self._ask("GET", path + ("?" + urlencode(pairs) if pairs else ""))

    def put(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        """Put something in force; the whole answer. Raises like `get`."""
        return self._ask("PUT", path, msgspec.json.encode(content))

    def delete(self, path: str) -> dict[str, Any]:
        """Take something away; the whole answer. Raises like `get`."""
        return self._ask("DELETE", path)

    def _ask(self, method: str, target: str, content: bytes | None = None) -> dict[str, Any]:
        """What the signing key allows."""
        base = self._settings.api_base_url or ""
        status, body = 0, b""
        for key in (*self._settings.signing_keys, None)[: len(self._settings.signing_keys) or 1]:
            headers = {} if key is None else {"Authorization": f"Bearer {bearer_token(key)}"}
            if content is not None:
                headers["Content-Type"] = "application/json"
            status, body = self._request(base, method, target, content, headers)
            if status != 401:
                break
        if status == 401:
            hint = "another" if self._settings.signing_keys else "a"
            raise AuthError(
                f"{base} wants {hint} signing key; pass --signing-key or set STEPWELL_SIGNING_KEY"
            )
        answer = _object(body, base, status)
        if status != 200:
            raise _refused(answer, status, base)
        return answer

    def pages(
        self, path: str, query: Iterable[tuple[str, str]] = (), *, limit: int
    ) -> Iterator[dict[str, Any]]:
        """The objects of a v2 list, page after page, at most `limit`. Raises like `get`."""
        cursor: tuple[tuple[str, str], ...] = ()
        while limit > 0:
            asked = (*query, ("limit", str(min(limit, PAGE))), *cursor)
            answer = self.get(path, asked)
            objects = answer.get("data", [])[:limit]
            yield from objects
            limit -= len(objects)
            page = answer.get("page", {})
            if not objects or not page.get("hasMore") or not page.get("cursor"):
                return
            cursor = (("cursor", page["cursor"]),)

    def send(self, events: list[dict[str, Any]]) -> list[str]:
        """Send events; their internal ids, when they are stored.

        Raises:
            Unreachable: Nothing answers there.
            AuthError: The server wants another event key.
            WireError: It refused the events.
        """
        base = self._settings.event_api_base_url or ""
        path = "/e/" + quote(self._settings.event_key or "", safe="")
        body = msgspec.json.encode(events)
        status, answer_body = self._request(
            base, "POST", path, body, {"Content-Type": "application/json"}
        )
        if status == 401:
            raise AuthError(
                f"{base} does not know this event key; pass --event-key or set STEPWELL_EVENT_KEY",
                code="event_key_unknown",
            )
        answer = _object(answer_body, base, status)
        if status != 200:
            raise _refused(answer, status, base)
        return [str(event_id) for event_id in answer.get("ids", [])]

    def _request(
        self, base: str, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        url = urlsplit(base)
        headers = {"User-Agent": f"stepwell-cli/{__version__}", **headers}
        kept = base in self._open
        try:
            return self._exchange(base, method, url.path + target, body, headers)
        except (http.client.HTTPException, OSError) as error:
            self.close()
            # A server may close a connection that was idle; that says nothing about the server.
            # Only reads are repeated: the server may have taken what was sent.
            if kept and method == "GET" and not isinstance(error, TimeoutError):
                try:
                    return self._exchange(base, method, url.path + target, body, headers)
                except (http.client.HTTPException, OSError) as again:
                    self.close()
                    error = again
            if _speaks_no_http(error):
                raise _not_a_server(base, "did not answer in HTTP") from error
            raise Unreachable(
                f"cannot reach a server at {base}: {_reason(error)}; start one with "
                "`stepwell dev`, or name another with --url or STEPWELL_BASE_URL"
            ) from error

    def _exchange(
        self, base: str, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        connection = self._open.get(base)
        if connection is None:
            url = urlsplit(base)
            https = url.scheme == "https"
            kind = http.client.HTTPSConnection if https else http.client.HTTPConnection
            connection = kind(url.hostname or "", url.port, timeout=self._timeout_s)
            self._open[base] = connection
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.getheader(KIND_HEADER) is None:
            raise _not_a_server(base, f"answered with status {response.status}")
        return response.status, answer


def _object(body: bytes, base: str, status: int) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise _not_a_server(base, f"answered with status {status}")
    return answer


def _not_a_server(base: str, what: str) -> WireError:
    return WireError(
        f"{base} {what}, and not as a Stepwell server's API does; check the URL",
        code="not_a_server",
    )


def _speaks_no_http(error: Exception) -> bool:
    """Whether something that is not HTTP came; a connection that broke tells nothing."""
    if isinstance(error, http.client.RemoteDisconnected):
        return False
    return isinstance(
        error,
        http.client.BadStatusLine | http.client.LineTooLong | http.client.UnknownProtocol,
    )


def _refused(answer: dict[str, Any], status: int, base: str) -> StepwellError:
    """The server's own words, from either shape of its errors."""
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else answer
    if not isinstance(first, dict):
        first = {}
    text = str(first.get("message") or first.get("error") or f"status {status}")
    if status == 404:
        return NotFound(f"{text} (at {base})")
    return WireError(text, code=str(first.get("code") or "invalid_request"), status=status)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, http.client.HTTPException):
        return "it left in the middle of an answer"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
