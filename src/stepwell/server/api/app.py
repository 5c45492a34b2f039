"""Puts the API together: routes, edge, gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Router

from stepwell.errors import WireError
from stepwell.server.api import rest_v1, rest_v2
from stepwell.server.api.auth import Gate
from stepwell.server.api.bodies import BODY_TIMEOUT_S
from stepwell.server.api.checkpoints import Checkpoints
from stepwell.server.api.connect import ConnectHttp
from stepwell.server.api.connect_state import ConnectState
from stepwell.server.api.context import Context
from stepwell.server.api.dev import DevInfo
from stepwell.server.api.edge import Edge
from stepwell.server.api.events import EventIntake
from stepwell.server.api.graphql import GraphQL
from stepwell.server.api.health import Health
from stepwell.server.api.invoke import Invocations
from stepwell.server.api.page import Pages
from stepwell.server.api.refusals import RefusalLog
from stepwell.server.api.register import Registrations
from stepwell.server.api.responses import V2_PREFIXES
from stepwell.server.api.run_state import RunState
from stepwell.server.app_book import AppBook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from stepwell.server.runtime import Runtime
    from stepwell.server.settings import Settings
    from stepwell.server.worker_history import WorkerHistory
    from stepwell.server.workers import WorkerBook


def build_api(
    *,
    runtime: Runtime,
    settings: Settings,
    book: WorkerBook,
    worker_history: WorkerHistory,
    app_book: AppBook | None = None,
    gateway_url: Callable[[str], str],
    mint_session_token: Callable[[str], str],
    drained: Callable[[], bool],
    body_timeout_s: float = BODY_TIMEOUT_S,
    sync_app: Callable[[str], Awaitable[bool]] | None = None,
) -> Edge:
    """The ASGI application of the API's port.

    Args:
        gateway_url: From the `Host` of a start request to the URL that this worker shall dial.
        mint_session_token: From a connection id to a token that opens only that connection.
        drained: Whether the server is leaving: `/ready` says 503, everything else goes on.
        body_timeout_s: How long a request's body may take.
        sync_app: Asks the app at a URL to sync; whether that went well.
    """
    context = Context(
        runtime=runtime,
        settings=settings,
        book=book,
        worker_history=worker_history,
        app_book=app_book or AppBook(),
        gateway_url=gateway_url,
        mint_session_token=mint_session_token,
        drained=drained,
        body_timeout_s=body_timeout_s,
        sync_app=sync_app,
    )
    gate = Gate(settings, RefusalLog(runtime.now_ms))
    parts = (
        Health(context),
        DevInfo(context),
        Registrations(context),
        ConnectHttp(context),
        ConnectState(context),
        RunState(context),
        Checkpoints(context),
        Invocations(context),
        GraphQL(context),
        rest_v1.EventReads(context),
        rest_v1.Runs(context),
        rest_v1.AppReads(context),
        rest_v1.Signals(context),
        rest_v2.Actions(context),
        rest_v2.RunReads(context),
        rest_v2.AppReads(context),
        rest_v2.RouteChoices(context),
        rest_v2.WorkerReads(context),
        rest_v2.EnvironmentReads(context),
        Pages(context),
    )
    routes = [route for part in parts for route in part.routes()]
    router = Router(routes, redirect_slashes=False, default=_unknown_path)
    return Edge(context=context, gate=gate, intake=EventIntake(context, gate), router=router)


async def _unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    path: str = scope["path"]
    if path.startswith(V2_PREFIXES):
        raise WireError("Not Found", code="api_error", status=404)
    raise WireError(f"nothing is at {path}", code="not_found", status=404)
