"""The HTTP side of Connect: where to connect, replies without a socket, state too large to send.

Source: docs/reference/wire/connect.md, "HTTP endpoints"; calls.md, "state that is fetched".
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

import aiohttp
import msgspec
from google.protobuf.message import DecodeError

from stepwell.config import SDK_NAME
from stepwell.errors import AuthError, StepwellError
from stepwell.proxy import proxy_for
from stepwell.sending import no_answer_reason
from stepwell.wire.connect import StartRequest, StartResponse
from stepwell.wire.keys import bearer_token

if TYPE_CHECKING:
    from collections.abc import Sequence

START_TIMEOUT_S = 10.0
FLUSH_TIMEOUT_S = 10.0
STATE_TIMEOUT_S = 60.0  # Up to 32 MiB of state.

_UNAUTHORISED = (401, 403)
_TOO_LARGE = 413
_STEPS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_EVENTS = msgspec.json.Decoder(list[msgspec.Raw])

T = TypeVar("T")


class ServerUnreachable(StepwellError):
    """The server did not answer, or not as a server does. Trying again may help."""

    code = "server_unreachable"
    status = 503


class ReplyTooLarge(ServerUnreachable):
    """The server does not take a request of this size, and never will."""


class ConnectHttp:
    """Requests to the server's API. All methods run on the loop that `open` ran on.

    Args:
        base_url: Of the API.
        keys: Signing keys in the order of preference. The one that worked last is tried first.
    """

    def __init__(self, *, base_url: str, keys: Sequence[str], env: str | None) -> None:
        self._base_url = base_url
        self._keys: list[str | None] = list(keys) or [None]
        self._env = env
        self._proxy = proxy_for(base_url)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ConnectHttp:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._session is not None, "entered before"
        await self._session.close()

    async def start(self, exclude_groups: Sequence[str]) -> StartResponse:
        """Ask where to connect.

        Raises:
            AuthError: No key is accepted.
            ServerUnreachable: No usable answer.
        """
        body = await self._request(
            "POST",
            "/v0/connect/start",
            body=StartRequest(exclude_gateways=exclude_groups).SerializeToString(),
            timeout_s=START_TIMEOUT_S,
        )
        try:
            return StartResponse.FromString(body)
        except DecodeError as error:
            raise ServerUnreachable(
                f"the answer of {self._base_url} to a start request cannot be read; is it a "
                "Stepwell server?"
            ) from error

    async def flush(self, reply: bytes) -> None:
        """Leave a reply. It is stored when this returns.

        Raises:
            AuthError, ServerUnreachable: It is not stored.
            ReplyTooLarge: It never can be.
        """
        await self._request("POST", "/v0/connect/flush", body=reply, timeout_s=FLUSH_TIMEOUT_S)

    async def steps_of(self, run_id: str) -> dict[str, msgspec.Raw]:
        """The remembered results of a run whose state is too large for a call.

        Raises:
            AuthError, ServerUnreachable: They could not be had.
        """
        return await self._state(run_id, "actions", _STEPS)

    async def events_of(self, run_id: str) -> list[msgspec.Raw]:
        """The events of such a run.

        Raises:
            AuthError, ServerUnreachable: They could not be had.
        """
        return await self._state(run_id, "batch", _EVENTS)

    async def _state(self, run_id: str, what: str, decoder: msgspec.json.Decoder[T]) -> T:
        body = await self._request(
            "GET", f"/v0/runs/{run_id}/{what}", body=None, timeout_s=STATE_TIMEOUT_S
        )
        try:
            return decoder.decode(body)
        except msgspec.DecodeError as error:
            raise ServerUnreachable(
                f"the {what} of run {run_id} cannot be read: {error}"
            ) from error

    async def _request(
        self, method: str, path: str, *, body: bytes | None, timeout_s: float
    ) -> bytes:
        """Send a request with the first key that is accepted, and give the answer's body."""
        assert self._session is not None, "used inside `async with`"
        for key in tuple(self._keys):
            try:
                async with self._session.request(
                    method,
                    self._base_url + path,
                    data=None if body is None else BytesIO(body),  # large ones in pieces
                    headers=self._headers(key, protobuf=method == "POST"),
                    proxy=self._proxy,
                    timeout=aiohttp.ClientTimeout(total=timeout_s),
                ) as response:
                    status, answer = response.status, await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise ServerUnreachable(
                    f"cannot reach {self._base_url}: {no_answer_reason(error)}"
                ) from error
            if status not in _UNAUTHORISED:
                self._keys.remove(key)
                self._keys.insert(0, key)
                if 200 <= status < 300:
                    return answer
                if status == _TOO_LARGE:
                    raise ReplyTooLarge(
                        f"{self._base_url}{path} does not take {len(body or b'')} bytes"
                    )
                raise ServerUnreachable(
                    f"{self._base_url}{path} answered {status}: {_text(answer)}"
                )
        raise self._refused(status, answer)

    def _headers(self, key: str | None, *, protobuf: bool) -> dict[str, str]:
        headers = {"User-Agent": SDK_NAME, "X-Inngest-SDK": SDK_NAME}
        if protobuf:
            headers["Content-Type"] = "application/protobuf"
        if key is not None:
            headers["Authorization"] = f"Bearer {bearer_token(key)}"
        if self._env is not None:
            headers["X-Inngest-Env"] = self._env
        return headers

    def _refused(self, status: int, answer: bytes) -> AuthError:
        tried = [key for key in self._keys if key is not None]
        if not tried:
            hint = "it wants a signing key: pass signing_key= or set STEPWELL_SIGNING_KEY"
        elif len(tried) == 1:
            hint = (
                "it does not know the signing key: check signing_key= or STEPWELL_SIGNING_KEY, "
                "and STEPWELL_SIGNING_KEY_FALLBACK while keys are being rotated"
            )
        else:
            hint = "it knows neither the signing key nor the fallback key: check both"
        return AuthError(
            f"{self._base_url} answered {status} ({_text(answer)}); {hint}",
            code="signing_key_missing" if not tried else "signing_key_refused",
            status=status,
        )


def _text(answer: bytes) -> str:
    return answer[:200].decode("utf-8", "replace").strip() or "no reason given"
