"""Ops: what an SDK reports about the steps of a run.

Source: docs/reference/wire/ops.md.
"""

from __future__ import annotations

from typing import Final

import msgspec

STEP_RUN: Final = "StepRun"
STEP: Final = "Step"
STEP_ERROR: Final = "StepError"
STEP_FAILED: Final = "StepFailed"
STEP_PLANNED: Final = "StepPlanned"
SLEEP: Final = "Sleep"
RUN_COMPLETE: Final = "RunComplete"
DISCOVERY_REQUEST: Final = "DiscoveryRequest"
NONE: Final = "None"

OPS_PER_RESPONSE_MAX = 1_000
"""More operations than this in one response fail the run."""


class OpError(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The error of a failed step, as SDKs write it. Unknown keys are dropped."""

    name: str = "Error"
    message: str = ""
    stack: str | None = None
    no_retry: bool | None = None
    data: msgspec.Raw | None = None
    cause: msgspec.Raw | None = None


class Userland(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step's id before hashing, and which use of that id it is (0 for the first)."""

    id: str
    index: int | None = None


class Op(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One operation, decoded. `data` and `opts` stay bytes.

    `op` is spelled as in this module's constants, whatever letter case the SDK used; an op that
    we do not know keeps the SDK's spelling, and the engine refuses it by name.
    """

    op: str
    id: str
    name: str = ""
    display_name: str = ""
    opts: msgspec.Raw = msgspec.Raw(b"null")
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw | None = None
    userland: Userland | None = None

    @property
    def label(self) -> str:
        """What people call this step."""
        return self.display_name or (self.userland.id if self.userland else "") or self.name or self.id
