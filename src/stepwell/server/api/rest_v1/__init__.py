"""REST v1: stored events and runs, in the envelope that official SDKs and suites read."""

from stepwell.server.api.rest_v1.events import EventReads
from stepwell.server.api.rest_v1.runs import RunReads

__all__ = ["EventReads", "RunReads"]
