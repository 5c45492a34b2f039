"""The served app's own requests to the server: registering, and state too large to send.

They run on the process's background loop, so that they are the same for every kind of program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import aiohttp
import msgspec

from stepwell.background import background
from stepwell.errors import AuthError, StepwellError
from stepwell.proxy import proxy_for
from stepwell.sending import no_answer_reason
from stepwell.serve.orders import Registered
from stepwell.wire.keys import bearer_token

if TYPE_CHECKING:
    from concurrent.futures import Future

    from stepwell.config import ClientSettings
    from stepwell.serve.orders import SyncOrder
    from stepwell.wire.calls import Call

REGISTER_TIMEOUT_S: Final = 8.0
"""The server that asks for a sync waits ten seconds for all of it."""

ANSWER_BYTES_MAX: Final = 64 * 2**10

_UNAUTHORISED = (401, 403)


class ServerApi:
    """Requests with the credentials of one client."""

    def __init__(self, settings: ClientSettings) -> None:
        assert settings.api_base_url is not None, "checked when the app was made"
        self._base_url = settings.api_base_url
        self._keys = settings.signing_keys
        self._env = settings.env
        self._proxy = proxy_for(self._base_url)

    def register(self, order: SyncOrder) -> Future[Registered | StepwellError]:
        """Register the app; an error is a result, since it is answered to somebody."""
        return background().submit(self._register(order))

    def complete(self, call: Call) -> Future[Call]:
        """Fetch what a call was too large to bring.

        Raises, in the future:
            AuthError, StepwellError: It could not be had.
        """
        return background().submit(self._complete(call))

    async def _register(self, order: SyncOrder) -> Registered | StepwellError:
        url = f"{self._base_url}/fn/register"
        if order.deploy_id is not None:
            url += "?" + urlencode({"deployId": order.deploy_id})
        try:
            for key in self._keys or (None,):
                registered = await self._post(url, order, key)
                if registered.status not in _UNAUTHORISED:
                    return registered
        except (aiohttp.ClientError, TimeoutError) as error:
            return StepwellError(
                f"cannot reach {self._base_url}: {no_answer_reason(error)}",
                code="server_unreachable",
                status=502,
            )
        return AuthError(
            f"{self._base_url} answered {registered.status}; check the signing key "
            "(signing_key= or STEPWELL_SIGNING_KEY), and the fallback key while keys are being "
            "rotated",
            code="signing_key_refused" if self._keys else "signing_key_missing",
            status=502,
        )

    async def _post(self, url: str, order: SyncOrder, key: str | None) -> Registered:
        headers = dict(order.headers)
        if key is not None:
            headers["Authorization"] = f"Bearer {bearer_token(key)}"
        async with (
            background()
            .session()
            .post(
                url,
                data=order.body,
                headers=headers,
                allow_redirects=False,  # a redirect would take the credential somewhere else
                proxy=self._proxy,
                timeout=aiohttp.ClientTimeout(total=REGISTER_TIMEOUT_S),
            ) as response
        ):
            body = b""
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > ANSWER_BYTES_MAX:
                    return Registered(status=502, body=b"the answer is too long")
            return Registered(status=response.status, body=body)

    async def _complete(self, call: Call) -> Call:
        from stepwell.connect.http import ConnectHttp  # loads protobuf, and is seldom needed

        http = ConnectHttp(base_url=self._base_url, keys=self._keys, env=self._env)
        async with http:
            steps = await http.steps_of(call.ctx.run_id)
            events = call.events or await http.events_of(call.ctx.run_id)
        return msgspec.structs.replace(call, steps=steps, events=events)
