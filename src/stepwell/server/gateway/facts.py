"""What a session tells its shell: facts in the order they happened, and bytes to send."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from stepwell.server.gateway.hello import Hello


class SyncWanted(msgspec.Struct, frozen=True, kw_only=True):
    """A worker authenticated. Register its apps, then call `synced` or `sync_failed`."""

    hello: Hello


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The worker takes calls from now on."""


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """The worker takes no more calls: it is leaving, or the gateway is."""


class Quiet(msgspec.Struct, frozen=True, kw_only=True):
    """The worker was not heard for two heartbeats: it gets no calls until `Ready` comes again."""


class Acked(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The worker took a call."""

    request_id: str


class Unheard(msgspec.Struct, frozen=True, kw_only=True):
    """The worker has read a call and will not do it: it was not ready for it yet."""

    request_id: str


class ExtendWanted(msgspec.Struct, frozen=True, kw_only=True):
    """The worker asks to keep a call. Answer with `lease_extended`.

    `echo` is the answer as far as it repeats the question, serialised.
    """

    request_id: str
    lease_id: bytes
    echo: bytes


class Replied(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A call's outcome came. Store it, then call `reply_committed` or `reply_not_stored`."""

    request_id: str
    status: int
    body: bytes
    no_retry: bool
    retry_after: str | None
    request_version: int


class Checkpointed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Steps of a call that goes on came. Store them, then call `checkpoint_answered`.

    `steps` is a JSON array of operations that nobody has looked at.
    """

    request_id: str
    run_id: str
    seq: int
    steps: bytes


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """The worker lives."""


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """The connection is over for this reason; only its closing handshake may remain."""

    reason: str


Fact: TypeAlias = (
    SyncWanted
    | Ready
    | Paused
    | Quiet
    | Acked
    | Unheard
    | ExtendWanted
    | Replied
    | Checkpointed
    | Heartbeat
    | Gone
)


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """A close frame. The reason is never empty: the Go SDK stops for good on an empty one."""

    code: int
    reason: str


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """What to do to the socket, in this order: send messages, a ping, the close frame, end TCP."""

    messages: list[bytes]
    ping: bool
    close: Close | None
    end: bool
