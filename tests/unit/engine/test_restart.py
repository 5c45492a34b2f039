"""Memory is a cache: a partition built from rows at any point goes on like the one before.

Each story is told once without a restart, then once for each of its points with a restart there.
The worker comes back under the same name before anything else happens. From then on every row must
be the same, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from stepwell.engine.leases import make_lease_id
from stepwell.engine.rows import RunStatus
from tests.unit.engine.scenario import Scenario, op, ops, raised, ran, returned

Act: TypeAlias = Callable[[Scenario], object]


def sends(name: str = "order/paid", **fields: object) -> Act:
    return lambda s: s.send(name, **fields)


def replies(outcome: object, to: str | None = None) -> Act:
    """The worker reports on its latest call, or on the one aimed at a step."""
    return lambda s: s.reply(outcome, s.call if to is None else s.call_for(to))  # type: ignore[arg-type]


def passes(ms: int) -> Act:
    return lambda s: s.pass_ms(ms)


def extends(s: Scenario) -> None:
    """The worker keeps its call."""
    renewed = s.partition.extend_lease(
        connection_id="c",
        request_id=s.call.request_id,
        lease_id=make_lease_id(s.call.request_id, s.call.lease_until_ms),
        now_ms=s.now_ms,
    )
    assert renewed is not None


def waits(step: str, condition: str | None) -> dict[str, object]:
    opts = {"event": "bank/booked", "timeout": "1h", "if": condition}
    return op("WaitForEvent", step, opts=opts)


def signals(step: str, signal: str, **opts: str) -> dict[str, object]:
    return op("WaitForSignal", step, opts={"signal": signal, "timeout": "1h", **opts})


def invokes(step: str, **opts: str) -> dict[str, object]:
    return op("InvokeFunction", step, opts={"function_id": "shop-handler", **opts})


RACE = {"parallelMode": "race"}
STORIES: dict[str, list[Act]] = {
    "a chain": [
        sends(),
        replies(ran("a", 1)),
        passes(10),
        replies(ran("b", {"x": [1]})),
        replies(returned("end")),
    ],
    "retries": [
        sends(),
        replies(raised()),
        passes(1_000),
        replies(ops(op("StepError", "a", error={"name": "E"}))),
        passes(500),
        passes(500),
        replies(ran("a")),
        replies(raised("last", no_retry=True)),
        replies(ran("tell")),
        replies(returned()),
    ],
    "parallel steps": [
        sends(),
        replies(ops(*[op("StepPlanned", name) for name in "abc"])),
        replies(ran("b"), "b"),
        replies(ops(op("StepError", "a", error={})), "a"),
        passes(1_000),
        replies(ran("c"), "c"),
        replies(ran("a"), "a"),
        replies(ops(op("StepPlanned", "d"), op("Sleep", "nap", name="3s"))),
        passes(3_000),
        replies(ran("d"), "d"),
        replies(returned()),
    ],
    "a race": [
        sends(),
        replies(ops(*[op("StepPlanned", name, opts=RACE) for name in "abc"])),
        replies(ran("b"), "b"),
        replies(ran("c"), "c"),
        replies(ops()),
        replies(ops(op("StepPlanned", "c2", opts=RACE))),
        replies(ran("a"), "a"),
        replies(ran("c2"), "c2"),
        replies(returned()),
    ],
    "sleeps": [
        sends(),
        replies(ops(op("Sleep", "short", name="2s"))),
        passes(1_999),
        passes(1),
        replies(ops(op("Sleep", "long", name="2h"))),
        passes(3_600_000),
        passes(3_600_000),
        replies(ops(op("Sleep", "at once", name=""))),
        replies(returned()),
    ],
    "losses": [
        sends(),
        passes(120_000),
        extends,
        passes(120_000),
        passes(120_000),
        passes(1_000),
        replies(returned()),
    ],
    "several runs": [
        sends(id="one"),
        sends(id="two"),
        sends(id="one"),
        lambda s: s.reply(ran("a"), s.calls[0]),
        lambda s: s.reply(ran("a"), s.calls[1]),
        lambda s: s.reply(returned(), s.calls[2]),
        sends(),
        replies(returned()),
        lambda s: s.reply(returned(), s.calls[3]),
    ],
    "events are waited for": [
        sends(data={"id": 7}),
        replies(
            ops(
                waits("a", "async.data.id == event.data.id"),
                waits("b", "async.data.n > 3"),
                waits("c", None),
            )
        ),
        sends("bank/booked", data={"id": 8, "n": 1}),
        sends("bank/booked", data={"id": 7, "n": 2}),
        sends("bank/booked", data={"id": 7, "n": 4}),
        replies(ops(waits("d", "async.data.n > 3"))),
        passes(3_600_000),
        replies(returned()),
    ],
    "signals are waited for": [
        sends(),
        replies(ops(signals("a", "one"), signals("b", "two"))),
        lambda s: s.signal("two", 2),
        sends(),
        replies(ops(signals("a", "one", conflict="replace"))),
        lambda s: s.signal("one", 1),
        replies(returned()),
        lambda s: s.signal("one", 1),
        passes(3_600_000),
        replies(returned()),
    ],
    "functions are invoked": [
        sends(),
        replies(ops(invokes("a"), invokes("b"))),
        lambda s: s.reply(returned(1), s.calls[1]),
        lambda s: s.reply(ops(op("Sleep", "nap", name="2h")), s.calls[2]),
        passes(7_200_000),
        replies(raised(no_retry=True)),
        replies(ops(invokes("c", timeout="1s"))),
        passes(1_000),
        replies(ops(invokes("d", function_id="shop-none"))),
        replies(returned()),
        lambda s: s.reply(returned(), s.calls[-3]),
    ],
    "runs are cancelled": [
        sends(data={"id": 7}),
        sends(data={"id": 8}),
        sends("order/void", data={"id": 7}),
        lambda s: s.cancel(s.calls[1].run_id),
        sends(data={"id": 7}),
        replies(ops(op("Sleep", "nap", name="2h"))),
        sends("order/void", data={"id": 9}),
        sends("order/void", data={"id": 7}),
        sends(data={"id": 7}),
        replies(ops(op("Sleep", "nap", name="30h"))),
        passes(86_400_000),
    ],
    "checkpoints and deferred functions": [
        sends(),
        lambda s: s.checkpoint(op("StepRun", "a"), op("StepRun", "b")),
        lambda s: s.checkpoint(op("DeferAdd", "d", opts={"fn_slug": "x", "input": {"n": 1}})),
        lambda s: s.checkpoint(op("StepRun", "c")),
        replies(returned()),
        passes(10),
    ],
}


def told(story: list[Act], restart_at: int | None) -> Scenario:
    # How long a lease still lasts is soft: the stories restart as it begins, and the grace that
    # takes its place is as long.
    s = Scenario(reconnect_grace_ms=120_000)
    failed = "event.data.function_id == 'shop-ship'"
    s.sync(
        {
            "fn": "ship",
            "retries": 2,
            "cancel": [{"event": "order/void", "if": "async.data.id == event.data.id"}],
            "timeouts": {"finish": "1d"},
        },
        {
            "fn": "handler",
            "triggers": [{"event": "inngest/function.failed", "expression": failed}],
        },
    )
    s.attach("c", instance="w")
    for point, act in enumerate(story):
        if point == restart_at:
            s.restart()
            s.attach("c", instance="w")
        act(s)
    return s


@pytest.mark.parametrize("name", STORIES)
def test_a_restart_at_any_point_changes_no_row(name: str) -> None:
    story = STORIES[name]
    expected = told(story, None)
    assert expected.ends, "a story has an end"
    assert expected.reader.count_live() == 0
    for point in range(1, len(story)):
        s = told(story, point)
        assert s.writes == expected.writes, f"after a restart before act {point}"
        assert s.calls == expected.calls


def test_a_call_that_was_out_stays_with_its_worker_for_the_grace() -> None:
    s = Scenario()
    s.sync({})
    s.attach("c1", instance="w1")
    s.send()
    s.restart()
    s.attach("c2", instance="w2")
    s.pass_ms(14_999)
    assert len(s.calls) == 1
    assert s.reply(returned())
    assert [end.status for end in s.ends] == [RunStatus.COMPLETED]


def test_a_call_whose_worker_does_not_come_back_goes_to_another() -> None:
    s = Scenario()
    s.sync({})
    s.attach("c1", instance="w1")
    s.send()
    before = s.call
    s.restart()
    s.attach("c2", instance="w2")
    s.pass_ms(15_000)
    assert (s.call.attempt, s.call.generation) == (0, 2)
    assert not s.reply(returned(), before)


def test_a_call_that_was_out_keeps_its_slot() -> None:
    s = Scenario()
    s.sync({})
    s.attach("c1", instance="w1", limit=1)
    s.send()
    s.restart()
    s.attach("c2", instance="w1", limit=1)
    s.send()
    assert len(s.calls) == 1
    s.reply(returned())
    assert len(s.calls) == 2


def test_what_waited_for_a_worker_waits_again_in_the_same_order() -> None:
    s = Scenario()
    s.sync({})
    for _ in range(5):
        s.send()
    queued = list(s.partition.runs)
    s.restart()
    s.attach(limit=1)
    for _ in range(5):
        s.reply(returned())
    assert [call.run_id for call in s.calls] == queued


def test_functions_and_apps_are_the_same_after_a_restart() -> None:
    s = Scenario()
    s.sync({"fn": "ship"}, {"fn": "bill", "triggers": [{"event": "a/*"}]})
    s.sync({"fn": "bill", "triggers": [{"event": "a/*"}]})
    catalog = s.partition.catalog
    s.restart()
    assert s.partition.catalog.functions == catalog.functions
    assert s.partition.catalog.apps == catalog.apps
    assert s.partition.catalog.by_no(1) == catalog.by_no(1)
