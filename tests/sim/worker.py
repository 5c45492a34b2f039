"""A worker process of a simulation: it runs programs, and misbehaves in every way we know."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.engine.inputs import WorkerAttached
from stepwell.engine.leases import make_lease_id
from stepwell.engine.rows import StepKind
from stepwell.wire.outcomes import Ops
from tests.sim.programs import CAUGHT, answer
from tests.unit.engine.scenario import ops

if TYPE_CHECKING:
    from stepwell.engine.effects import Dispatch
    from stepwell.wire.ids import RequestId
    from stepwell.wire.outcomes import Outcome
    from tests.sim.world import World

RESEND_MS = 300
"""A reply that nobody acknowledged is sent again."""


class Worker:
    """One worker by name, through all its processes and connections."""

    def __init__(self, world: World, name: str, *, limit: int | None) -> None:
        self._world = world
        self.name = name
        self.limit = limit
        self._process = 0
        self._connection: str | None = None
        self._connections = 0
        self._running: dict[RequestId, bytes] = {}  # the lease id to name next
        self._unacked: dict[RequestId, Outcome] = {}

    # --- connections ---

    def connect(self) -> None:
        """Connect, now or as soon as the server is there."""
        world = self._world
        if self._connection is not None:
            return
        if not world.server.up:
            world.later(world.soon_ms(500), f"{self.name} tries again", self.connect)
            return
        self._connections += 1
        connection = self._connection = f"{self.name}/{self._connections}"
        world.log(f"  {connection} is ready")

        def deliver(call: Dispatch) -> None:
            memo = world.memo(call.run_id)
            world.later(
                world.soon_ms(20),
                f"call {world.short(call.request_id)} reaches {connection}",
                lambda: self._called(connection, call, memo),
            )

        world.server.attach(
            WorkerAttached(
                connection_id=connection,
                instance_id=self.name,
                limit=self.limit,
                functions=world.functions,
                version_ms=self._process,
            ),
            deliver,
        )

    def server_crashed(self) -> None:
        """All sockets end; this worker notices and comes back, in time or too late."""
        if self._connection is not None:
            self._connection = None
            world = self._world
            world.later(world.soon_ms(1_200), f"{self.name} comes back", self.connect)

    def lose_connection(self) -> None:
        """The socket breaks; the server may notice before or after the worker is back."""
        world, connection = self._world, self._connection
        if connection is None:
            return
        self._connection = None
        world.later(
            world.soon_ms(1_000),
            f"{connection} is found gone",
            lambda: world.server.gone(connection),
        )
        world.later(world.soon_ms(1_200), f"{self.name} comes back", self.connect)

    def drain(self) -> None:
        """The connection takes no more calls; a new one takes its place, the old one ends later."""
        world, connection = self._world, self._connection
        if connection is None:
            return
        world.server.detach(connection)
        self._connection = None
        self.connect()
        world.later(
            world.soon_ms(2_000), f"{connection} ends", lambda: world.server.gone(connection)
        )

    def die(self) -> None:
        """The process is gone with all its calls and replies; another one starts."""
        self._process += 1
        self._running.clear()
        self._unacked.clear()
        self.lose_connection()

    # --- calls ---

    def _called(self, connection: str, call: Dispatch, memo: dict[str, Any]) -> None:
        world = self._world
        if self._is_cut(connection):
            return
        fate = world.call_fate()
        world.log(f"  {call.step_id[:6]} attempt {call.attempt}: {fate}")
        if fate == "connection lost before ack":
            self.lose_connection()
            return
        process, request_id = self._process, call.request_id
        self._running[request_id] = make_lease_id(request_id, call.lease_until_ms)
        if fate != "no ack":
            world.later(world.soon_ms(20), "ack", lambda: world.server.ack(request_id))
        if fate == "hangs":
            return  # no extension, no reply
        if fate == "dies":
            world.later(world.soon_ms(400), f"{self.name} dies", self.die)
        if fate == "loses connection":
            world.later(world.soon_ms(400), f"{self.name} loses socket", self.lose_connection)
        if fate == "drains":
            world.later(world.soon_ms(100), f"{self.name} drains", self.drain)
        if fate != "late":
            self._extend_later(process, request_id)
        program = world.program(call.function_no)
        outcome = answer(
            program,
            memo=memo,
            target=call.step_id,
            attempt=call.attempt,
            plan_only=call.plan_only,
            bodies=world.bodies.setdefault(call.run_id, Counter()),
        )
        if fate == "answers nothing":
            outcome = ops()
        if fate == "tells an old step again" and memo and isinstance(outcome, Ops):
            old = ops({"op": "StepRun", "id": next(iter(memo)), "data": "told again"})
            outcome = msgspec.structs.replace(outcome, ops=(*old.ops, *outcome.ops))
        lasts_ms = world.lease_ms * 2 if fate == "late" else world.body_ms()
        world.later(
            lasts_ms,
            f"{world.short(request_id)} done",
            lambda: self._done(process, request_id, outcome, fate),
        )

    def _is_cut(self, connection: str) -> bool:
        """Whether what was on its way over this connection was lost with it."""
        if connection == self._connection:
            return False
        number = int(connection.rpartition("/")[2])
        # A connection that is being drained still brings what was sent before.
        return not (self._connection is not None and number == self._connections - 1)

    def _extend_later(self, process: int, request_id: RequestId) -> None:
        world = self._world
        world.later(world.lease_ms // 4, "extend", lambda: self._extend(process, request_id))

    def _extend(self, process: int, request_id: RequestId) -> None:
        world = self._world
        lease_id = self._running.get(request_id)
        if self._process != process or lease_id is None:
            return
        if world.server.up and self._connection is not None:
            new_id = world.server.extend(self._connection, request_id, lease_id)
            if new_id is None:
                world.count["extension refused"] += 1
                if world.chance(0.5):
                    del self._running[request_id]  # one SDK cancels the call, others go on
                return
            if not world.chance(0.1):  # the answer may be lost
                self._running[request_id] = new_id
        self._extend_later(process, request_id)

    def _done(self, process: int, request_id: RequestId, outcome: Outcome, fate: str) -> None:
        if self._process != process or self._running.pop(request_id, None) is None:
            return
        self._unacked[request_id] = outcome
        if fate != "reply lost":
            self._reply(process, request_id)
        if fate == "replies twice":
            self._reply(process, request_id)
        self._resend_later(process, request_id)

    def _resend_later(self, process: int, request_id: RequestId) -> None:
        self._world.later(RESEND_MS, "resend", lambda: self._resend(process, request_id))

    def _resend(self, process: int, request_id: RequestId) -> None:
        if self._process == process and request_id in self._unacked:
            self._reply(process, request_id)
            self._resend_later(process, request_id)

    def _reply(self, process: int, request_id: RequestId) -> None:
        world = self._world
        outcome = self._unacked[request_id]

        def answered(accepted: bool | None) -> None:
            if accepted is None:
                return
            world.count["report taken" if accepted else "report stale"] += 1
            if self._process == process:
                self._unacked.pop(request_id, None)

        world.later(
            world.soon_ms(20),
            f"reply {world.short(request_id)}",
            lambda: world.server.report(request_id, outcome, answered),
        )


def memo_value(kind: StepKind, data: bytes) -> Any:
    """A finished step as the program sees it."""
    match kind:
        case StepKind.FAILED:
            return CAUGHT
        case StepKind.SLEEP:
            return None
        case _:
            return msgspec.json.decode(data)
