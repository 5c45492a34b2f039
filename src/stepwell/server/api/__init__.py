"""The HTTP API on port 8288: events, registration, Connect's bootstrap, reads, and a page."""

from stepwell.server.api.app import build_api

__all__ = ["build_api"]
