"""REST v1: stored events and runs, in the envelope that official SDKs and suites read."""

from stepwell.server.api.rest_v1.apps import AppReads
from stepwell.server.api.rest_v1.events import EventReads
from stepwell.server.api.rest_v1.runs import Runs
from stepwell.server.api.rest_v1.signals import Signals

__all__ = ["AppReads", "EventReads", "Runs", "Signals"]
