"""The end of a simulation: when it must come, and what must be true then: invariants 4 to 10."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.engine.rows import HistoryKind
from tests.process_sim.faults import STOPS_WITHIN_S
from tests.process_sim.programs import bodies_ms, naps_ms, tries_max

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.process_sim.world import World

LOOK_S = 20.0
"""How often it is looked whether a run is late."""

RECOVERS_S = 60.0
"""What finding a new connection may take, after the silence of an old one was noticed."""

SETTLES_S = 400.0
"""Until then every socket that nobody is behind any more has been noticed."""


def await_runs(world: World) -> None:
    """6: go on until the last fault and all runs are over, or until it is late."""

    def is_done() -> bool:
        if world.client.troubles:
            return True
        waits = any(sending.waits_for for sending in world.client.sendings)
        return not waits and world.clock.now_s > world.faults.last_s

    while (deadline_s := _deadline_s(world)) > world.clock.now_s:
        look_s = min(deadline_s, world.clock.now_s + LOOK_S)
        if world.conductor.run_until(is_done, until_s=look_s):
            break
    assert not world.client.troubles, world.client.troubles
    for sending in world.client.sendings:
        assert sending.acked_s is not None, "6: every producer is answered in time"
        assert not sending.waits_for, "6: every run ends in time"


def check_stored(world: World) -> None:
    """10, and counts of what is stored."""
    reader = world.disk.reader()
    for run_id in world.disk.committed.statuses:
        for row in reader.history(run_id):
            world.count[f"history {row.kind.name}"] += 1
            is_loss = row.kind is HistoryKind.CALL_LOST
            assert not (is_loss and world.faults.is_gentle), "10: no call is lost"
        for step in reader.steps(run_id):
            world.count[f"step {step.kind.name}"] += 1
    again = [key for key, times in world.bodies.items() if times > world.allowed[key[1]]]
    assert not (again and world.faults.is_gentle), f"10: {again} ran too often"
    world.count["body again"] += len(again)


def check_settled(world: World) -> None:
    """4 and 7."""
    world.conductor.run_until(lambda: False, until_s=world.clock.now_s + SETTLES_S)
    for sending in world.client.sendings:
        for run_id, run in sending.runs.items():
            now = _ask(world, f"/v1/runs/{run_id}")["data"]
            assert now == run, f"4: {now} was {run} before"
    listed = _ask(world, "/v2/workers?limit=100").get("data", [])  # left out if there are none
    shown = {worker["id"]: (worker["instanceId"], worker["status"]) for worker in listed}
    expected = {
        worker.connection_id: (instance, "READY") for instance, worker in world.workers.items()
    }
    assert shown == expected, f"7: the workers are {expected}, not {shown}"
    assert world.server.attached == set(shown), "7: calls go to workers that are there"
    assert world.disk.reader().count_live() == 0, "7: no live row is left"
    assert world.disk.count_stranded() == 0, "7: no live row is stranded"


def check_stops(world: World) -> None:
    """8."""
    for worker in world.workers.values():
        worker.drain()
    _await_end(world, lambda: not any(each.is_up for each in world.workers.values()), "the workers")
    world.server.stop()
    _await_end(world, lambda: not world.server.is_up, "the server")
    world.client.stop()


def _deadline_s(world: World) -> float:
    """By when all that was acknowledged must be over, if nothing but its own time holds it up:
    even if all bodies ran one after the other."""
    begin_s, work_s, naps_s, tries = world.faults.last_s, 0.0, 0.0, 0
    for sending in world.client.sendings:
        if sending.acked_s is None:
            return max(begin_s, sending.begins_s) + 2 * RECOVERS_S
        begin_s = max(begin_s, sending.acked_s)
        for program in sending.programs:
            work_s += bodies_ms(program) / 1000
            naps_s = max(naps_s, naps_ms(program.nodes) / 1000)
            tries = max(tries, tries_max(program))
    settings = world.settings
    lost_ms = settings.connect_lease_ms + settings.connect_reconnect_grace_ms
    noticed_ms = max(25_000, 5 * settings.connect_heartbeat_ms)
    tries_ms = tries * ((settings.retry_interval_ms or 0) + 100)
    waits_s = (tries_ms + lost_ms + noticed_ms) / 1000
    return begin_s + work_s + naps_s + waits_s + RECOVERS_S


def _ask(world: World, path: str) -> Any:
    answer = world.client.ask(path)
    until_s = world.clock.now_s + RECOVERS_S
    assert world.conductor.run_until(answer.done, until_s=until_s), f"7: no answer to {path}"
    return answer.result()


def _await_end(world: World, has_ended: Callable[[], bool], who: str) -> None:
    until_s = world.clock.now_s + STOPS_WITHIN_S
    assert world.conductor.run_until(has_ended, until_s=until_s), f"8: {who} did not end"
