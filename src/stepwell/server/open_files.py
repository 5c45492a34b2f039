"""How many files the process may have open: each socket is one of them.

Systems begin a process with few, often 1,024, and let it ask for many more. Without files left a
server can accept nothing: not workers, and not the API's clients either.
"""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from stepwell.server.settings import Settings

SPARE = 500
"""For all but the workers' connections: the API's, calls over HTTP, the data."""

_log = logging.getLogger(__name__)


def make_room(settings: Settings) -> Settings:
    """Raise the limit of this process as far as `connections_max` needs.

    Returns:
        The settings; with a lower `connections_max`, if the system does not allow that many.
        The log says so.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.connections_max + SPARE
    if _covers(soft, wanted):
        return settings
    asked = wanted if _covers(hard, wanted) else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (asked, hard))
        allowed = asked
    except (OSError, ValueError):  # some systems have one more limit behind this one
        allowed = soft
    if _covers(allowed, wanted):
        return settings
    fit = max(allowed - SPARE, allowed // 2, 1)
    _log.warning(
        "this process may open %s files only: it takes %s connections of workers instead of %s; "
        "raise the limit of the system (`ulimit -Hn`)",
        f"{allowed:,}",
        f"{fit:,}",
        f"{settings.connections_max:,}",
    )
    return msgspec.structs.replace(settings, connections_max=fit)


def _covers(limit: int, count: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= count
