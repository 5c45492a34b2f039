"""Functions served over HTTP by any ASGI program: `stepwell.asgi.serve`."""

from stepwell.serve.asgi import serve

__all__ = ["serve"]
