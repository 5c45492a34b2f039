"""Features that scenarios need and that are missing; a line goes when its feature comes.

A scenario names what it needs; while that is listed here it is skipped with the reason.
`COMPAT_TRY=waits,invoke` switches features on before their lines are gone, `COMPAT_TRY=all` all.
"""

from __future__ import annotations

import os

ALL: dict[str, str] = {}
"""Why each is skipped, such as `"waits": "needs wait_for_event in the engine"`."""

_TRIED = os.environ.get("COMPAT_TRY", "").split(",")
PENDING = {need: why for need, why in ALL.items() if need not in _TRIED and _TRIED != ["all"]}
"""The same, less what is tried now."""
