"""A worker process of a simulation: it runs programs, and misbehaves in every way we know."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.server.payloads import memo
from stepwell.wire.outcomes import Ops
from tests.sim.calls import read_memo
from tests.sim.programs import answer
from tests.unit.engine.scenario import op, ops, raised

if TYPE_CHECKING:
    from stepwell.wire.ids import RequestId
    from stepwell.wire.outcomes import Outcome
    from tests.sim.calls import SentCall
    from tests.sim.world import World

RESEND_MS = 300
RESEND_MS_MAX = 5_000
"""A reply that nobody acknowledged is sent again, after twice as long each time."""

_DONE = frozenset({"StepRun", "Step", "StepFailed"})


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
        world.server.attach(
            connection_id=connection,
            instance_id=self.name,
            limit=self.limit,
            version_ms=self._process,
            versions=world.routed.versions(self.name, self._process),
            deliver=self._called,
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

    def _called(self, call: SentCall) -> None:
        world, connection = self._world, call.connection_id
        if self._is_cut(connection):
            return
        fate = world.call_fate()
        world.log(f"  {call.step_id[:6]} attempt {call.attempt}: {fate}")
        if fate == "connection lost before ack":
            self.lose_connection()
            return
        process, request_id = self._process, call.request_id
        self._running[request_id] = call.lease_id
        if fate != "no ack":
            world.network.send(
                "to the server", connection, "ack", lambda: world.server.ack(connection, request_id)
            )
        if fate == "hangs":
            return  # no extension, no reply
        if fate == "dies":
            world.later(world.soon_ms(400), f"{self.name} dies", self.die)
        if fate == "loses connection":
            world.later(world.soon_ms(400), f"{self.name} loses socket", self.lose_connection)
        if fate == "drains":
            world.later(world.soon_ms(100), f"{self.name} drains", self.drain)
        if fate == "poisons":
            world.poison[request_id] = call.run_id
        if fate != "late":
            self._extend_later(process, request_id)
        outcome = self._run(call, fate)
        lasts_ms = world.lease_ms * 2 if fate == "late" else world.body_ms()
        if world.program(call.slug).checkpoints and isinstance(outcome, Ops):
            self._checkpoint_later(call, outcome, lasts_ms)
        world.later(
            lasts_ms,
            f"{world.short(request_id)} done",
            lambda: self._done(process, request_id, outcome, fate),
        )

    def _run(self, call: SentCall, fate: str) -> Outcome:
        world = self._world
        memos = call.memo
        if memos is None:
            memos = self._fetched(call)
        outcome = answer(
            world.program(call.slug),
            memo=memos,
            target=call.step_id,
            attempt=call.attempt,
            plan_only=call.plan_only,
            bodies=world.bodies.setdefault(call.run_id, Counter()),
        )
        if fate == "raises":
            world.raised.add(call.run_id)
            outcome = raised("an accident")
        if fate == "answers nothing":
            outcome = ops()
        if fate == "asks to be called again":
            outcome = ops(op("DiscoveryRequest", "again"))
        if fate == "tells an old step again" and memos and isinstance(outcome, Ops):
            old = ops({"op": "StepRun", "id": next(iter(memos)), "data": "told again"})
            outcome = msgspec.structs.replace(outcome, ops=(*old.ops, *outcome.ops))
        if isinstance(outcome, Ops):
            for each in outcome.ops:
                world.count[f"op {each.op}"] += 1
            failed = sum(each.op == "StepError" for each in outcome.ops)
            world.count["steps failed side by side"] += failed > 1
        return outcome

    def _checkpoint_later(self, call: SentCall, outcome: Ops, lasts_ms: int) -> None:
        """Tell the steps that are done, one after the other, while the call goes on."""
        world, process = self._world, self._process
        done = [each for each in outcome.ops if each.op in _DONE]

        def tell(count: int) -> None:
            peer = self._connection
            if self._process != process or call.request_id not in self._running or peer is None:
                return

            def answered(said: str | None) -> None:
                if said is None:
                    return
                world.count[f"checkpoint {said}"] += 1
                world.network.send("from the server", peer, "checkpoint's answer", lambda: None)

            world.network.send(
                "to the server",
                peer,
                "checkpoint",
                lambda: world.server.checkpoint(
                    call.run_id, call.request_id, done[:count], answered
                ),
            )

        for count in range(1, len(done) + 1):
            after_ms = lasts_ms * count // (len(done) + 1)
            world.later(after_ms, "checkpoint", lambda count=count: tell(count))  # type: ignore[misc]

    def _fetched(self, call: SentCall) -> dict[str, Any]:
        """The finished steps of a call that came without them, as the API gives them."""
        self._world.count["steps fetched"] += 1
        known = {
            step.step_id: memo(step.kind, step.data)
            for step in self._world.server.reader.steps(call.run_id)
        }
        return read_memo({step_id: known[step_id] for step_id in call.stack})

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
        lease_id, connection = self._running.get(request_id), self._connection
        if self._process != process or lease_id is None:
            return

        def answered(new_id: bytes | None) -> None:
            world.network.send(
                "from the server",
                str(connection),
                "extension's answer",
                lambda: self._extended(process, request_id, new_id),
            )

        if connection is not None:
            world.network.send(
                "to the server",
                connection,
                "extension",
                lambda: world.server.extend(connection, request_id, lease_id, answered),
            )
        self._extend_later(process, request_id)

    def _extended(self, process: int, request_id: RequestId, new_id: bytes | None) -> None:
        world = self._world
        if self._process != process or request_id not in self._running:
            return
        if new_id is not None:
            self._running[request_id] = new_id
            return
        world.count["extension refused"] += 1
        if world.chance(0.5):
            del self._running[request_id]  # one SDK cancels the call, others go on

    def _done(self, process: int, request_id: RequestId, outcome: Outcome, fate: str) -> None:
        if self._process != process or self._running.pop(request_id, None) is None:
            return
        self._unacked[request_id] = outcome
        self._reply(process, request_id)
        if fate == "replies twice":
            self._reply(process, request_id)
        self._resend_later(process, request_id, RESEND_MS)

    def _resend_later(self, process: int, request_id: RequestId, wait_ms: int) -> None:
        def resend() -> None:
            if self._process == process and request_id in self._unacked:
                self._reply(process, request_id)
                self._resend_later(process, request_id, min(2 * wait_ms, RESEND_MS_MAX))

        self._world.later(wait_ms, "resend", resend)

    def _reply(self, process: int, request_id: RequestId) -> None:
        world = self._world
        outcome = self._unacked[request_id]
        peer = self._connection or f"{self.name} over HTTP"

        def answered(accepted: bool | None) -> None:
            if accepted is None:
                return
            world.count["report taken" if accepted else "report stale"] += 1
            world.network.send(
                "from the server", peer, "report's ack", lambda: self._acked(process, request_id)
            )

        world.network.send(
            "to the server",
            peer,
            "report",
            lambda: world.server.report(request_id, outcome, answered),
        )

    def _acked(self, process: int, request_id: RequestId) -> None:
        if self._process == process:
            self._unacked.pop(request_id, None)
