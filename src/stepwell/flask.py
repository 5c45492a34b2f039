"""Functions served over HTTP by a Flask program: `stepwell.flask.serve`."""

from stepwell.serve.flask import serve

__all__ = ["serve"]
