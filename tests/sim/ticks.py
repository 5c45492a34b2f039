"""What schedules started: invariant 23."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from stepwell.engine.cron import parse_cron
from stepwell.wire.durations import parse_duration_ms, parse_instant_ms
from stepwell.wire.lifecycle import SCHEDULED_EVENT
from tests.sim.invariants import LATE_MS

if TYPE_CHECKING:
    from stepwell.store.interface import EventRecord
    from tests.sim.world import World


def check_ticks(world: World, events: list[EventRecord]) -> None:
    """23, of the whole story."""
    crons = {
        str(each["cron"]): parse_duration_ms(str(each.get("jitter", "0"))) for each in world.crons
    }
    fired: Counter[int] = Counter()
    late_ms = world.server.committed.late_ms + world.down_ms
    for event in events:
        if event.name != SCHEDULED_EVENT:
            continue
        told = json.loads(event.data)
        at_ms, fire_ms = parse_instant_ms(told["scheduledAt"]), event.ts_ms
        assert parse_cron(told["cron"]).last_until(at_ms) == at_ms, "23: it is an instant of it"
        assert at_ms <= fire_ms, "23: it does not come before its time"
        # The next instant of a schedule waits for the one before.
        jitter_ms = crons[told["cron"]]
        assert fire_ms <= at_ms + 2 * jitter_ms + late_ms, "23: it comes in time"
        assert len(event.runs) == 1, "23: an instant starts its function"
        fired[at_ms] += 1
        world.count["schedule fired"] += 1
        world.count["schedule with jitter fired"] += jitter_ms > 0
    assert all(count == 1 for count in fired.values()), "23: an instant fires once"
    if world.server.committed.late_ms > LATE_MS or world.down_ms > LATE_MS:
        return  # it may have been away for so long that an instant was missed
    for cron, jitter_ms in crons.items():
        until_ms = world.server.now_ms() - 2 * jitter_ms - late_ms
        instant = parse_cron(cron).next_after(world.synced_ms)
        while instant is not None and instant < until_ms:
            assert fired[instant], "23: no instant is left out"
            instant = parse_cron(cron).next_after(instant)
