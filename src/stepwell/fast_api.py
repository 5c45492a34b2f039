"""Functions served over HTTP by a FastAPI program: `stepwell.fast_api.serve`."""

from stepwell.serve.fast_api import serve

__all__ = ["serve"]
