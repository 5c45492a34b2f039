"""The Connect gateway on port 8289: where workers dial in and get their calls."""

from stepwell.server.gateway.gateway import Gateway

__all__ = ["Gateway"]
