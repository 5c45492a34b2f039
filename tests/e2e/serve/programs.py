"""The same app in each framework, listening."""

from __future__ import annotations

import http.client
import time
import types
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import django
import flask
import msgspec
from django.conf import settings as django_settings
from django.urls import clear_url_caches, path
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

import stepwell
import stepwell.asgi
import stepwell.django
import stepwell.fast_api
import stepwell.flask
import stepwell.starlette
import stepwell.wsgi
from stepwell.wire.signing import sign
from tests.e2e.serve.listening import under_uvicorn, under_werkzeug, under_wsgiref
from tests.unit.serve.served import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stepwell.function import Function

TRIGGER = stepwell.TriggerEvent(event="order/paid")


class Answer(NamedTuple):
    """What came back, with names of headers in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Program:
    """An app that listens.

    Attributes:
        path: Where it is.
        framework: What it says it is built on.
        key: With which requests to it are signed, if they are.
        takes_chunks: The listening server decodes bodies in chunks.
        reads_first: Something reads the whole body before the app is asked.
    """

    def __init__(self, name: str, port: int, path: str, framework: str, key: str | None) -> None:
        self.takes_chunks = name not in ("wsgi", "django_sync", "django_async_on_wsgi")
        self.reads_first = name in ("flask_hook", "django_async")
        self.port = port
        self.path = path
        self.framework = framework
        self.key = key

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def ask(
        self,
        method: str,
        body: Any = b"",
        *,
        query: str = "",
        signed: bool = True,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request; bodies that are iterable go in chunks."""
        named = dict(headers or {})
        if signed and self.key is not None:
            whole = body if isinstance(body, bytes) else b"".join(body)
            named["X-Inngest-Signature"] = sign(whole, key=self.key, unix_s=int(time.time()))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            target = f"{self.path}?{query}" if query else self.path
            chunked = not isinstance(body, bytes)
            if chunked:
                named["Transfer-Encoding"] = "chunked"
            connection.request(method, target, body or None, named, encode_chunked=chunked)
            response = connection.getresponse()
            found = {name.lower(): text for name, text in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def call(self, fn_id: str, body: Any, **more: Any) -> Answer:
        """Call a function."""
        return self.ask("POST", body, query=f"fnId=shop-{fn_id}&stepId=step", **more)


def functions_of(shop: stepwell.Client) -> list[Function[Any]]:
    """`steps`, async, and `plain`, sync: a step, and then what it gave."""

    @shop.create_function(fn_id="steps", trigger=TRIGGER)
    async def steps(ctx: stepwell.Context) -> Any:
        async def charge() -> str:
            return "charged"

        return {"got": await ctx.step.run("charge", charge)}

    return [steps, plain_of(shop)]


def plain_of(shop: stepwell.Client) -> Function[Any]:
    """`plain` alone."""

    @shop.create_function(fn_id="plain", trigger=TRIGGER)
    def plain(ctx: stepwell.ContextSync) -> Any:
        return {"got": ctx.step.run("charge", lambda: "charged")}

    return plain


Make = "Callable[[stepwell.Client, Sequence[Function[Any]]], Any]"


@contextmanager
def _asgi(shop: stepwell.Client, functions: Sequence[Function[Any]], **o: Any) -> Iterator[Any]:
    with under_uvicorn(stepwell.asgi.serve(shop, functions, **o)) as port:
        yield port, "/anywhere"


@contextmanager
def _mounted(shop: stepwell.Client, functions: Sequence[Function[Any]], **o: Any) -> Iterator[Any]:
    app = Starlette(routes=[Mount("/shop", app=stepwell.asgi.serve(shop, functions, **o))])
    with under_uvicorn(app) as port:
        yield port, "/shop/inngest"


@contextmanager
def _starlette(
    shop: stepwell.Client, functions: Sequence[Function[Any]], **o: Any
) -> Iterator[Any]:
    app = Starlette()
    stepwell.starlette.serve(app, shop, functions, **o)
    with under_uvicorn(app) as port:
        yield port, "/api/inngest"


@contextmanager
def _fast_api(shop: stepwell.Client, functions: Sequence[Function[Any]], **o: Any) -> Iterator[Any]:
    app = FastAPI()

    @app.middleware("http")  # the kind of middleware that reads requests in its own way
    async def look_on(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    stepwell.fast_api.serve(app, shop, functions, **o)
    with under_uvicorn(app) as port:
        yield port, "/api/inngest"


@contextmanager
def _wsgi(shop: stepwell.Client, functions: Sequence[Function[Any]], **o: Any) -> Iterator[Any]:
    with under_wsgiref(stepwell.wsgi.serve(shop, functions, **o)) as port:
        yield port, "/anywhere"


@contextmanager
def _flask(shop: stepwell.Client, functions: Sequence[Function[Any]], **o: Any) -> Iterator[Any]:
    app = flask.Flask("shop")
    stepwell.flask.serve(app, shop, functions, **o)
    with under_werkzeug(app) as port:
        yield port, "/api/inngest"


@contextmanager
def _flask_hook(
    shop: stepwell.Client, functions: Sequence[Function[Any]], **o: Any
) -> Iterator[Any]:
    app = flask.Flask("shop")

    @app.before_request
    def read_it_first() -> None:
        flask.request.get_data()

    stepwell.flask.serve(app, shop, functions, serve_path="/f", **o)
    with under_werkzeug(app) as port:
        yield port, "/f"


def _django_urls(*patterns: Any) -> None:
    if not django_settings.configured:
        django_settings.configure(ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY="x", DEBUG=False)
        django.setup()
    module = types.ModuleType("shop_urls")
    module.urlpatterns = list(patterns)  # type: ignore[attr-defined]
    django_settings.ROOT_URLCONF = module
    clear_url_caches()


@contextmanager
def _django_sync(
    shop: stepwell.Client, functions: Sequence[Function[Any]], **o: Any
) -> Iterator[Any]:
    from django.core.handlers.wsgi import WSGIHandler

    plain = [function for function in functions if not function.is_async]
    _django_urls(stepwell.django.serve(shop, plain, **o))
    with under_wsgiref(WSGIHandler()) as port:
        yield port, "/api/inngest"


@contextmanager
def _django_async(
    shop: stepwell.Client, functions: Sequence[Function[Any]], **o: Any
) -> Iterator[Any]:
    from django.core.handlers.asgi import ASGIHandler

    _django_urls(path("", _included(stepwell.django.serve(shop, functions, **o))))
    with under_uvicorn(ASGIHandler(), lifespan="off") as port:
        yield port, "/api/inngest"


def _included(pattern: Any) -> Any:
    from django.urls import include

    return include([pattern])


@contextmanager
def _django_async_on_wsgi(
    shop: stepwell.Client, functions: Sequence[Function[Any]], **o: Any
) -> Iterator[Any]:
    from django.core.handlers.wsgi import WSGIHandler

    _django_urls(stepwell.django.serve(shop, functions, **o))
    with under_wsgiref(WSGIHandler()) as port:
        yield port, "/api/inngest"


FRAMEWORKS: dict[str, tuple[str, Any]] = {
    "asgi": ("asgi", _asgi),
    "mounted": ("asgi", _mounted),
    "starlette": ("starlette", _starlette),
    "fast_api": ("fast_api", _fast_api),
    "wsgi": ("wsgi", _wsgi),
    "flask": ("flask", _flask),
    "flask_hook": ("flask", _flask_hook),
    "django_sync": ("django", _django_sync),
    "django_async": ("django", _django_async),
    "django_async_on_wsgi": ("django", _django_async_on_wsgi),
}


@contextmanager
def program(
    name: str,
    *,
    api_url: str,
    is_production: bool = True,
    functions: Callable[[stepwell.Client], list[Function[Any]]] = functions_of,
    **options: Any,
) -> Iterator[Program]:
    """The app in a framework; in production it has the key of the tests."""
    framework, start = FRAMEWORKS[name]
    key = KEY if is_production else None
    shop = stepwell.Client(
        app_id="shop", is_production=is_production, api_base_url=api_url, signing_key=key
    )
    with ExitStack() as running:
        port, where = running.enter_context(start(shop, functions(shop), **options))
        yield Program(name, port, where, framework, key)
