"""Functions in a Flask program. A function runs on the thread of its request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell.app import check_program
from stepwell.serve.options import resolve_options, route_of
from stepwell.serve.shell import Shell
from stepwell.serve.wsgi import head_of, read_up_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    import flask

    from stepwell.client import Client
    from stepwell.function import Function
    from stepwell.serve.messages import Response

_ALL_METHODS: Final = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
)
"""Which ones are answered is the handler's matter."""


def serve(
    app: flask.Flask,
    client: Client,
    functions: Sequence[Function[Any]],
    *,
    enable_unauthed_sync: bool | None = None,
    public_path: str | None = None,
    serve_origin: str | None = None,
    serve_path: str | None = None,
) -> None:
    """Serve functions under a route of this program.

    Sync functions run on the request's thread, with Flask's contexts; async functions there too,
    on a new event loop.

    Args:
        enable_unauthed_sync: Whether a sync in production may go without a signature; by
            default if `serve_origin` is given.
        public_path: The path of the app's URL, if something in front changes paths.
        serve_origin: Scheme and host under which the server reaches the program; by default
            what each request says.
        serve_path: The route, `/api/inngest` by default.
    Raises:
        ConfigError: The functions cannot be served, or an option cannot be used.
    """
    import flask

    options = resolve_options(
        framework="flask",
        serve_origin=serve_origin,
        public_path=public_path,
        enable_unauthed_sync=enable_unauthed_sync,
        streaming=False,
    )
    check_program(app, (flask.Flask, flask.Blueprint), options.form)
    shell = Shell(client, functions, options)

    def view() -> flask.Response:
        response = _respond(shell, flask.request)
        return flask.Response(response.body, response.status, response.headers)

    route = route_of(serve_path)
    app.add_url_rule(
        route,
        endpoint=f"stepwell{route}".replace(".", "_"),  # a dot would name a blueprint
        view_func=view,
        methods=_ALL_METHODS,
        provide_automatic_options=False,
    )


def _respond(shell: Shell, request: flask.Request) -> Response:
    from werkzeug.exceptions import RequestEntityTooLarge

    head = head_of(request.environ)
    response = shell.app.refuse(head)
    if response is not None:
        return response
    bytes_max = shell.app.bytes_max(head.method)
    if head.method != "GET":
        try:
            head = msgspec.structs.replace(head, body=_body(request, bytes_max))
        except RequestEntityTooLarge:
            return shell.app.too_large(head.method, bytes_max + 1)
    return shell.respond_here(head)


def _body(request: flask.Request, bytes_max: int) -> bytes:
    """The body, also if a hook of the program has read it before.

    The program's own limit, which is meant for what its users send, does not hold for calls.

    Raises:
        RequestEntityTooLarge: It came in chunks, and in too many.
    """
    try:
        request.max_content_length = bytes_max + 1
    except AttributeError:  # Flask before 3.1
        if request.content_length is None:
            return read_up_to(request.stream, bytes_max + 1)
    return request.get_data()
