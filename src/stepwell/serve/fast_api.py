"""Functions in a FastAPI program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.serve.starlette import add_route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI

    from stepwell.client import Client
    from stepwell.function import Function


def serve(
    app: FastAPI,
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

    Async functions run on the program's event loop, sync functions on threads beside it.

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
        framework="fast_api",
        enable_unauthed_sync=enable_unauthed_sync,
        public_path=public_path,
        serve_origin=serve_origin,
        serve_path=serve_path,
        streaming=streaming,
    )
