"""REST v2: runs, their traces, apps, functions and workers, under `/v2` and `/api/v2` alike."""

from stepwell.server.api.rest_v2.actions import Actions
from stepwell.server.api.rest_v2.apps import AppReads
from stepwell.server.api.rest_v2.environment import EnvironmentReads
from stepwell.server.api.rest_v2.routes import RouteChoices
from stepwell.server.api.rest_v2.runs import RunReads
from stepwell.server.api.rest_v2.workers import WorkerReads

__all__ = ["Actions", "AppReads", "EnvironmentReads", "RouteChoices", "RunReads", "WorkerReads"]
