"""Carries out what the handler orders: on an event loop, or on the request's thread."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from stepwell.serve.api import ServerApi
from stepwell.serve.calls import CallRunner
from stepwell.serve.handler import ServedApp
from stepwell.serve.messages import Response
from stepwell.serve.orders import CallOrder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from stepwell.client import Client
    from stepwell.function import Function
    from stepwell.serve.calls import Around
    from stepwell.serve.handler import Order
    from stepwell.serve.messages import Request
    from stepwell.serve.options import ServeOptions

READ_ASIDE_BYTES: Final = 128 * 2**10
"""A larger body is verified and read on another thread than the loop's."""

_log = logging.getLogger("stepwell.serve")


class Shell:
    """One served app with everything that it needs to answer.

    Args:
        around: Put round sync functions that run on threads of ours.
    Raises:
        ConfigError: As `ServedApp`.
    """

    def __init__(
        self,
        client: Client,
        functions: Sequence[Function[Any]],
        options: ServeOptions,
        *,
        around: Around | None = None,
    ) -> None:
        self.app = ServedApp(client, functions, options)
        self._api = ServerApi(client.settings)
        self._runner = CallRunner(client, self._api, threads_max=options.threads_max, around=around)

    # --- on an event loop ---

    async def respond(self, request: Request) -> Response:
        """Answer a whole request.

        Raises:
            asyncio.CancelledError: Nobody waits for the answer.
        """
        order = await self.receive(request)
        return order if isinstance(order, Response) else await self.perform(order)

    async def receive(self, request: Request) -> Response | Order:
        """The answer, or what has to be done for it."""
        try:
            if len(request.body) > READ_ASIDE_BYTES:
                return await asyncio.to_thread(self.app.receive, request, now_s=now_s())
            return self.app.receive(request, now_s=now_s())
        except Exception:
            return self._broken()

    async def perform(self, order: Order) -> Response:
        """Do it, and answer.

        Raises:
            asyncio.CancelledError: Nobody waits for the answer.
        """
        try:
            if isinstance(order, CallOrder):
                outcome = await self._runner.run(order)
                return self.app.called(order, outcome, now_s=now_s())
            registered = await asyncio.wrap_future(self._api.register(order))
            return self.app.synced(order, registered, now_s=now_s())
        except Exception:
            return self._broken()

    # --- on the request's thread ---

    def respond_here(self, request: Request) -> Response:
        """Answer a whole request; blocks until that is done."""
        try:
            order = self.app.receive(request, now_s=now_s())
            if isinstance(order, Response):
                return order
            if isinstance(order, CallOrder):
                outcome = self._runner.run_here(order)
                return self.app.called(order, outcome, now_s=now_s())
            registered = self._api.register(order).result()
            return self.app.synced(order, registered, now_s=now_s())
        except Exception:
            return self._broken()

    def _broken(self) -> Response:
        """What is answered when this module's own parts have failed. The log has the rest."""
        _log.exception("a request could not be answered")
        return self.app.broken()


def now_s() -> int:
    """The time of signatures."""
    return int(time.time())
