"""The partition under observation: the real one, and what is asked of it after every decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.effects import Reply, ReportTaken
from stepwell.engine.inputs import CallReported
from stepwell.engine.partition import Partition
from tests.sim.invariants import check_requests
from tests.sim.routed import check_ways

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.engine.effects import Transition
    from stepwell.engine.inputs import Input
    from stepwell.engine.turn import EngineConfig
    from stepwell.wire.ids import IdSource
    from tests.sim.world import World


class EngineFault(Exception):
    """The engine raises, as a defect would make it."""


class WatchedPartition(Partition):
    """A partition that says what it decided, and that can be made to raise."""

    def __init__(self, config: EngineConfig, ids: IdSource, world: World) -> None:
        super().__init__(config, ids)
        self._world = world
        self._reports: list[CallReported] = []

    def step(
        self, inputs: Sequence[Input], now_ms: int, *, inputs_only: bool = False
    ) -> Transition:
        world = self._world
        self._meet_poison(inputs)
        transition = super().step(inputs, now_ms, inputs_only=inputs_only)
        world.server.decided(len(transition.writes))
        world.log(f"  decided {len(transition.writes)} rows, {len(transition.effects)} effects")
        if not inputs_only and inputs and world.engine_raises():
            raise EngineFault("an accident of the simulation")
        if not inputs_only:
            world.server.check(self._check_ways, transition)
            world.count["calls left for the next turn"] += self._calls_wait
            late = not self._calls_wait and self.next_wakeup_ms() <= now_ms
            world.count["times left for the next turn"] += late
            if not self._calls_wait:
                world.server.check(self._check_requests)
        self._reports += [item for item in inputs if isinstance(item, CallReported)]
        return transition

    def _check_requests(self) -> None:
        self._world.count["request queued"] += check_requests(self)

    def _check_ways(self, transition: Transition) -> None:
        self._world.count["call went as its route says"] += check_ways(self, transition.effects)

    def _meet_poison(self, inputs: Sequence[Input]) -> None:
        for item in inputs:
            if isinstance(item, CallReported) and item.request_id in self._world.poison:
                lease = self.leases.get(item.request_id)
                if lease is not None:
                    self.at_work = lease.run.run_id
                    raise EngineFault("a poisoned report")

    def check_stale(self, now_ms: int) -> None:
        """9: the reports that were decided on and committed, once more."""
        reports, self._reports = self._reports, []
        for report in reports:
            again = super().step([report], now_ms, inputs_only=True)
            stale = Reply(ticket=report.ticket, result=ReportTaken(accepted=False))
            assert again.effects == [stale], "9: a stale report is refused"
            assert not again.writes, "9: a stale report changes nothing"
