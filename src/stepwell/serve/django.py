"""Functions in a Django project: a URL pattern with a view, async if one of the functions is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.serve.messages import Request, quoted_path, read_headers, read_query
from stepwell.serve.options import resolve_options, route_of
from stepwell.serve.shell import Shell
from stepwell.serve.wsgi import read_up_to

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    from stepwell.client import Client
    from stepwell.function import Function
    from stepwell.outcome import Outcome
    from stepwell.serve.messages import Response


def serve(
    client: Client,
    functions: Sequence[Function[Any]],
    *,
    async_mode: bool | None = None,
    enable_unauthed_sync: bool | None = None,
    public_path: str | None = None,
    serve_origin: str | None = None,
    serve_path: str | None = None,
) -> URLPattern:
    """Make a URL pattern that serves functions.

    A sync view runs its functions on the request's thread. An async view runs async functions on
    the request's loop and sync functions on threads beside it, which get their database
    connections checked before and after.

    Args:
        async_mode: Whether the view is async; by default if one of the functions is.
        enable_unauthed_sync: Whether a sync in production may go without a signature; by
            default if `serve_origin` is given.
        public_path: The path of the app's URL, if something in front changes paths.
        serve_origin: Scheme and host under which the server reaches the project; by default
            what each request says.
        serve_path: The route, `/api/inngest` by default.
    Raises:
        ConfigError: The functions cannot be served, or an option cannot be used.
    """
    from django.urls import path

    options = resolve_options(
        framework="django",
        serve_origin=serve_origin,
        public_path=public_path,
        enable_unauthed_sync=enable_unauthed_sync,
        streaming=False,
    )
    shell = Shell(client, functions, options, around=_with_fresh_connections)
    if async_mode is None:
        async_mode = any(
            one.is_async for function in functions for one in function.with_failure_handler()
        )
    view = _async_view(shell) if async_mode else _sync_view(shell)
    view.csrf_exempt = True  # type: ignore[attr-defined]  # what Django's decorator sets
    return path(route_of(serve_path).lstrip("/"), view, name="stepwell")


def _sync_view(shell: Shell) -> Callable[[HttpRequest], HttpResponse]:
    def stepwell(request: HttpRequest) -> HttpResponse:
        refused, whole = _read(shell, request)
        return _answer(refused or shell.respond_here(whole))

    return stepwell


def _async_view(shell: Shell) -> Callable[[HttpRequest], Any]:
    async def stepwell(request: HttpRequest) -> HttpResponse:
        refused, whole = _read(shell, request)
        return _answer(refused or await shell.respond(whole))

    return stepwell


def _read(shell: Shell, request: HttpRequest) -> tuple[Response | None, Request]:
    """The request, or the answer to one that is not taken."""
    headers = read_headers(request.headers.items())
    head = Request(
        method=request.method or "",
        origin=f"{request.scheme}://{request.get_host()}",
        path=quoted_path(request.path),
        query=read_query(request.META.get("QUERY_STRING", "")),
        headers=headers,
    )
    refused = shell.app.refuse(head)
    if refused is None and head.method != "GET":
        # Not `request.body`, whose limit is meant for forms and is below the size of calls.
        body = read_up_to(request, shell.app.bytes_max(head.method) + 1)
        head = msgspec.structs.replace(head, body=body)
    return refused, head


def _answer(response: Response) -> HttpResponse:
    from django.http import HttpResponse

    return HttpResponse(response.body, status=response.status, headers=response.headers)


def _with_fresh_connections(job: Callable[[], Outcome]) -> Outcome:
    """Django looks after connections round requests; threads beside them have none."""
    from django.db import close_old_connections

    close_old_connections()
    try:
        return job()
    finally:
        close_old_connections()
