"""The partition under observation: the real one, and what is asked of it after every decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.engine.effects import Reply, ReportTaken
from stepwell.engine.inputs import CallReported
from stepwell.engine.partition import Partition

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
            world.count["calls left for the next turn"] += self._calls_wait
            late = not self._calls_wait and self.next_wakeup_ms() <= now_ms
            world.count["times left for the next turn"] += late
            world.server.check(self._check_stale, inputs, now_ms)
        return transition

    def _meet_poison(self, inputs: Sequence[Input]) -> None:
        for item in inputs:
            if isinstance(item, CallReported) and item.request_id in self._world.poison:
                lease = self.leases.get(item.request_id)
                if lease is not None:
                    self.at_work = lease.run.run_id
                    raise EngineFault("a poisoned report")

    def _check_stale(self, inputs: Sequence[Input], now_ms: int) -> None:
        """9: a report again, after its turn, unless the next turn has something else to do."""
        if self.next_wakeup_ms() <= now_ms:
            return
        for item in inputs:
            if isinstance(item, CallReported):
                again = super().step([item], now_ms)
                stale = Reply(ticket=item.ticket, result=ReportTaken(accepted=False))
                assert again.effects == [stale], "9: a stale report is refused"
                assert not again.writes, "9: a stale report changes nothing"
