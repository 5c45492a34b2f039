"""Whatever workers report, in whatever order: a partition never raises, strands or repeats.

`Scenario` commits each turn and checks the invariants of `tests/sim/invariants.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwell.engine.leases import make_lease_id
from stepwell.wire.ops import parse_ops
from stepwell.wire.outcomes import Ops
from tests.unit.engine.scenario import Scenario, op, raised, returned

if TYPE_CHECKING:
    from stepwell.wire.outcomes import Outcome

KINDS = (
    "StepRun",
    "Step",
    "StepError",
    "StepFailed",
    "StepPlanned",
    "Sleep",
    "RunComplete",
    "DiscoveryRequest",
    "None",
    "Nonsense",
)
TIMES = ("", "0s", "1s", "1h", "30d", "never", "2001-01-01")

an_op = st.builds(
    lambda kind, step, name, mode, error: {
        **op(kind, step, name=name, opts={"parallelMode": mode} if mode else None),
        **({"error": {"name": "E"}} if error else {}),
        **({"id": "step"} if step == "d" else {}),
    },
    st.sampled_from(KINDS[:5] * 4 + KINDS),
    st.sampled_from("abcd"),
    st.sampled_from(TIMES[:4] * 3 + TIMES),
    st.sampled_from((None, None, "race", "wait")),
    st.booleans(),
)
some_ops = st.builds(
    lambda reported, no_retry, version: ("ops", reported, no_retry, version),
    st.lists(an_op, max_size=4),
    st.sampled_from((False, False, False, True)),
    st.sampled_from((1, 2, 2, -1, 0)),
)
an_act = st.one_of(
    st.tuples(st.just("report"), st.integers(0, 5), some_ops),
    st.tuples(st.just("report"), st.integers(0, 5), some_ops),
    st.tuples(st.just("report"), st.integers(0, 5), st.sampled_from(("raised", "final"))),
    st.tuples(st.just("send"), st.sampled_from((None, "x", "y"))),
    st.tuples(st.just("attach"), st.integers(0, 2), st.sampled_from((None, 1, 3))),
    st.tuples(st.sampled_from(("detach", "gone")), st.integers(0, 2)),
    st.tuples(st.sampled_from(("ack", "extend")), st.integers(0, 5)),
    st.tuples(st.just("pass"), st.sampled_from((0, 1, 1_000, 60_000, 4_000_000))),
    st.tuples(st.just("restart")),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(
    st.lists(an_act, min_size=5, max_size=60),
    st.sampled_from((1, 2, 1_000)),
    st.sampled_from((5, 1_000)),
)
def test_no_order_of_events_and_reports_breaks_it(
    acts: list[tuple[Any, ...]], window: int, steps_max: int
) -> None:
    s = Scenario(queue_window=window, timer_window=window, steps_max=steps_max, lease_ms=50_000)
    failed = "event.data.function_id == 'shop-ship'"
    s.sync(
        {"fn": "ship", "retries": 1},
        {"fn": "bill", "retries": 0, "triggers": [{"event": "order/*"}]},
        {"fn": "told", "triggers": [{"event": "inngest/function.failed", "expression": failed}]},
    )
    s.attach("c0", instance="w0")
    s.send()
    for act in acts:
        do(s, act)
    come_to_an_end(s)


def do(s: Scenario, act: tuple[Any, ...]) -> None:
    match act:
        case ("report", number, what):
            if s.calls:
                s.reply(outcome(what), s.calls[-1 - number % len(s.calls)])
        case ("send", key):
            s.send(**({} if key is None else {"id": key}))
        case ("attach", number, limit):
            s.attach(f"c{number}", instance=f"w{number % 2}", limit=limit)
        case ("detach", number):
            s.detach(f"c{number}")
        case ("gone", number):
            s.gone(f"c{number}")
        case ("ack", number):
            if s.calls:
                s.partition.ack(s.calls[-1 - number % len(s.calls)].request_id)
        case ("extend", number):
            if s.calls:
                call = s.calls[-1 - number % len(s.calls)]
                s.partition.extend_lease(
                    connection_id=f"c{number % 3}",
                    request_id=call.request_id,
                    lease_id=make_lease_id(call.request_id, call.lease_until_ms),
                    now_ms=s.now_ms,
                )
        case ("pass", ms):
            s.pass_ms(ms)
        case ("restart",):
            s.restart()


def outcome(what: Any) -> Outcome:
    if what in ("raised", "final"):
        return raised(no_retry=what == "final")
    _ops, reported, no_retry, version = what
    body = b"[%b]" % b",".join(_json(each) for each in reported)
    return Ops(ops=parse_ops(body), no_retry=no_retry, retry_at_ms=None, version=version)


def _json(value: Any) -> bytes:

    return msgspec.json.encode(value)


def come_to_an_end(s: Scenario) -> None:
    """With a worker that does its work, every run ends."""
    s.attach("last", instance="good")
    for _ in range(400):
        for call in [call for call in s.calls if s.partition.leases.get(call.request_id)]:
            s.reply(returned(), call)
        if not s.reader.count_live():
            break
        s.now_ms = max(s.now_ms, s.partition.next_wakeup_ms())
        if not s.partition.leases:
            due_ms = s.store.next_wake_ms(after_ms=s.now_ms)
            s.now_ms = max(s.now_ms, due_ms or 0)
        s.step()
    assert s.reader.count_live() == 0, "a run does not end"
    assert s.partition.runs == {}
    assert len(s.partition.leases) == 0
