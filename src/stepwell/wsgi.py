"""Functions served over HTTP by any WSGI program: `stepwell.wsgi.serve`."""

from stepwell.serve.wsgi import serve

__all__ = ["serve"]
