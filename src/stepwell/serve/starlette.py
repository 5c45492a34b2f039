"""Functions in a Starlette program, and in what is built on Starlette, such as FastAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.app import check_program
from stepwell.serve.asgi import AsgiApp
from stepwell.serve.options import resolve_options, route_of
from stepwell.serve.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.applications import Starlette

    from stepwell.client import Client
    from stepwell.function import Function


def serve(
    app: Starlette,
    client: Client,
    functions: Sequence[Function[Any]],
    *,
    enable_unauthed_sync: bool | None = None,
    public_path: str | None = None,
    serve_origin: str | None = None,
    serve_path: str | None = None,
    streaming: object = None,
) -> None:
    """Serve functions under a route of this program.

    Args:
        enable_unauthed_sync: Whether a sync in production may go without a signature; by
            default if `serve_origin` is given.
        public_path: The path of the app's URL, if something in front changes paths.
        serve_origin: Scheme and host under which the server reaches the program; by default
            what each request says.
        serve_path: The route, `/api/inngest` by default.
        streaming: Answer calls at once and keep the connection alive while they run.
    Raises:
        ConfigError: The functions cannot be served, or an option cannot be used.
    """
    add_route(
        app,
        client,
        functions,
        framework="starlette",
        enable_unauthed_sync=enable_unauthed_sync,
        public_path=public_path,
        serve_origin=serve_origin,
        serve_path=serve_path,
        streaming=streaming,
    )


def add_route(
    app: Starlette,
    client: Client,
    functions: Sequence[Function[Any]],
    *,
    framework: str,
    enable_unauthed_sync: bool | None,
    public_path: str | None,
    serve_origin: str | None,
    serve_path: str | None,
    streaming: object,
) -> None:
    """As `serve`, under the framework's own name."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    options = resolve_options(
        framework=framework,
        serve_origin=serve_origin,
        public_path=public_path,
        enable_unauthed_sync=enable_unauthed_sync,
        streaming=streaming,
    )
    check_program(app, (Starlette,), options.form)
    endpoint = AsgiApp(Shell(client, functions, options))
    # A route to an ASGI app gets every method; which ones are answered is the handler's matter.
    route = Route(route_of(serve_path), endpoint, include_in_schema=False)
    app.router.routes.append(route)
