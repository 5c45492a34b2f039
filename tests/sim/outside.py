"""What comes from outside and is no producer's request: signals, cancellations, other servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from stepwell.engine.inputs import RequestReported
from stepwell.engine.request_secrets import joined
from stepwell.engine.rows import StepKind
from tests.sim.generated import SIGNALS
from tests.sim.programs import Ask, steps
from tests.sim.secret import SECRET
from tests.unit.engine.scenario import step_id

if TYPE_CHECKING:
    from random import Random

    from stepwell.engine.effects import Request
    from stepwell.wire.ids import RequestId, RunId
    from tests.sim.world import World

UNTIL_MS = 20_000
"""Nobody sends anything later."""


class Outside:
    """People and programs that are no workers."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        self._signals = 0
        self._tells_a_story = False
        self.cancelled: set[RunId] = set()
        """Runs that somebody wanted to be cancelled."""

    def start(self, *, tells_a_story: bool) -> None:
        """Put on the agenda what will come."""
        self._tells_a_story = tells_a_story
        if tells_a_story:
            self._world.later(UNTIL_MS, "a signal", self._signal)
            return
        if self._random.random() < 0.7:
            for _ in range(self._random.randint(1, 8)):
                self._world.later(self._world.soon_ms(UNTIL_MS), "a signal", self._signal)
        if self._random.random() < 0.4:
            for _ in range(self._random.randint(1, 4)):
                self._world.later(self._world.soon_ms(UNTIL_MS), "a cancellation", self._cancel)

    def _signal(self) -> None:
        world = self._world
        self._signals += 1
        number, signal = self._signals, SIGNALS[0]
        if not self._tells_a_story:
            signal = self._random.choice(SIGNALS)
        waited_for = world.server.committed.followed.waiters(signal)

        def answer(run_id: RunId | None, is_answered: bool) -> None:
            if is_answered:
                world.count["signal taken" if run_id else "signal for nobody"] += 1
                world.waited.check_signal(signal, number, run_id, waited_for)

        world.server.signal(signal, json.dumps(number).encode(), answer)

    def _cancel(self) -> None:
        world = self._world
        live = sorted(world.server.committed.live)
        if not live:
            return
        run_id = self._random.choice(live)
        self.cancelled.add(run_id)

        def answer(cancelled: bool | None) -> None:
            if cancelled is not None:
                world.count["cancelled by request" if cancelled else "cancelled too late"] += 1
                is_live = run_id in world.server.committed.live
                if is_live:
                    world.server.violated("24: a run that was cancelled is over")

        world.server.cancel(run_id, answer)


class Requests:
    """Makes the requests of steps for one process of the server."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._life = world.server.life

    def start(self, request: Request) -> None:
        """It takes its time, and may be lost with whoever was asked."""
        world = self._world
        world.server.check(self._check_told, request)
        fate = world.request_fate()
        world.server.leaves()
        if fate == "request lost":
            return
        takes_ms = 2 * world.lease_ms if fate == "request late" else world.soon_ms(500)

        def end() -> None:
            if world.server.up and world.server.life == self._life:
                world.server.request_ends(self._report(request))

        world.later(takes_ms, "a request ends", end)

    def withdraw(self, request_id: RequestId) -> None:
        """Nobody waits for it any more."""
        del request_id
        self._world.count["request was withdrawn"] += 1

    def _check_told(self, request: Request) -> None:
        reader = self._world.server.reader
        row = reader.history_row(request.run_id, request.seq)
        assert row is not None, "26: a request is told before it is made"
        options = joined(row.payload or b"", reader.request_secrets(request.run_id, request.seq))
        has_key = SECRET in options
        assert has_key == (self._step(request).failures > 0), "26: a request is made as it came"

    def _report(self, request: Request) -> RequestReported:
        step = self._step(request)
        fails = request.attempt < step.failures
        error = {"name": "Error", "message": f"no answer to {step.name}"}
        return RequestReported(
            request_id=request.request_id,
            name=step.name,
            kind=StepKind.INFER if step.failures == 1 else StepKind.FETCH,
            data=json.dumps(f"answer to {step.name}").encode(),
            error=json.dumps(error).encode() if fails else None,
        )

    def _step(self, request: Request) -> Ask:
        program = self._world.program_of(request.run_id)
        return next(
            step
            for step, _race in steps(program.nodes)
            if isinstance(step, Ask) and step_id(step.name) == request.step_id
        )
