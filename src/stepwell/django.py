"""Functions served over HTTP by a Django project: `stepwell.django.serve`."""

from stepwell.serve.django import serve

__all__ = ["serve"]
