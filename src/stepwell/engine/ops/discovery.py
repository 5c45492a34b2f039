"""`DiscoveryRequest` and `None`: nothing to remember."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepwell.engine.report import Report
    from stepwell.wire.ops import Op


def apply(report: Report, _op: Op) -> None:
    """Call the function again."""
    report.request_discovery()


def apply_none(_report: Report, _op: Op) -> None:
    """Do nothing: the SDK said so."""
