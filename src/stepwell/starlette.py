"""Functions served over HTTP by a Starlette program: `stepwell.starlette.serve`."""

from stepwell.serve.starlette import serve

__all__ = ["serve"]
