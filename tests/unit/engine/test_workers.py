"""Connections, slots, and which connection gets a call."""

from __future__ import annotations

from collections import Counter

import pytest

from stepwell.engine.partition import GIVE_OUT_MAX
from stepwell.engine.workers import LIMIT_DEFAULT, Workers
from tests.unit.engine.scenario import Scenario, returned


@pytest.fixture
def workers() -> Workers:
    return Workers()


def attach(
    workers: Workers,
    connection: str,
    instance: str | None = None,
    *,
    limit: int | None = None,
    functions: tuple[int, ...] = (1,),
    version_ms: int = 0,
) -> None:
    workers.attach(
        connection,
        instance_id=instance or connection,
        limit=limit,
        functions=functions,
        version_ms=version_ms,
    )


def picked(workers: Workers, times: int, no: int = 1) -> Counter[str]:
    found: Counter[str] = Counter()
    for _ in range(times):
        connection = workers.pick(no)
        assert connection is not None
        found[connection.connection_id] += 1
    return found


def taken(workers: Workers, no: int = 1) -> list[str]:
    """Fill all slots; the connections that got a call, in order."""
    found = []
    while (connection := workers.pick(no)) is not None:
        workers.take(connection.instance.instance_id)
        found.append(connection.connection_id)
    return found


def test_no_connection_no_call(workers: Workers) -> None:
    assert workers.pick(1) is None
    assert not workers.serves(1)


def test_a_connection_gets_calls_of_its_functions_only(workers: Workers) -> None:
    attach(workers, "c1", functions=(1, 2))
    attach(workers, "c2", functions=(2, 3))
    assert picked(workers, 4, no=1) == {"c1": 4}
    assert picked(workers, 4, no=2) == {"c1": 2, "c2": 2}
    assert picked(workers, 4, no=3) == {"c2": 4}
    assert workers.pick(4) is None


def test_equal_versions_share_evenly_and_in_turn(workers: Workers) -> None:
    for name in ("c1", "c2", "c3"):
        attach(workers, name)
    order = [next(iter(picked(workers, 1))) for _ in range(6)]
    assert order == ["c1", "c2", "c3", "c1", "c2", "c3"]


def test_the_newest_version_gets_ten_times_what_the_oldest_gets(workers: Workers) -> None:
    attach(workers, "old", version_ms=1_000)
    attach(workers, "new", version_ms=2_000)
    assert picked(workers, 110) == {"old": 10, "new": 100}


def test_a_version_between_gets_its_share(workers: Workers) -> None:
    attach(workers, "old", version_ms=0)
    attach(workers, "half", version_ms=50)
    attach(workers, "new", version_ms=100)
    assert picked(workers, 165) == {"old": 10, "half": 55, "new": 100}


def test_limits_are_of_the_instance_over_all_its_connections(workers: Workers) -> None:
    attach(workers, "c1", "w1", limit=2)
    attach(workers, "c2", "w1", limit=2)
    assert taken(workers) == ["c1", "c2"]


def test_instances_have_limits_of_their_own(workers: Workers) -> None:
    attach(workers, "c1", limit=2)
    attach(workers, "c2", limit=2)
    assert Counter(taken(workers)) == {"c1": 2, "c2": 2}


def test_the_latest_limit_of_an_instance_holds(workers: Workers) -> None:
    attach(workers, "c1", "w1", limit=1)
    attach(workers, "c2", "w1", limit=3)
    assert len(taken(workers)) == 3


def test_a_connection_without_a_limit_lifts_that_of_its_instance(workers: Workers) -> None:
    attach(workers, "c1", "w1", limit=1)
    attach(workers, "c2", "w1", limit=None)
    assert len(taken(workers)) == LIMIT_DEFAULT


def test_a_limit_below_what_is_out_waits_until_enough_came_back(workers: Workers) -> None:
    attach(workers, "c1", "w1", limit=3)
    taken(workers)
    attach(workers, "c2", "w1", limit=1)
    for _ in range(2):
        workers.free("w1")
        assert workers.pick(1) is None
    workers.free("w1")
    assert workers.pick(1) is not None


def test_a_freed_slot_is_one_and_only_one_call(workers: Workers) -> None:
    attach(workers, "c1", limit=2)
    taken(workers)
    workers.free("c1")
    assert taken(workers) == ["c1"]


def test_a_slot_is_freed_once(workers: Workers) -> None:
    attach(workers, "c1")
    workers.take("c1")
    workers.free("c1")
    with pytest.raises(AssertionError):
        workers.free("c1")


def test_a_detached_connection_gets_no_calls_and_is_forgotten(workers: Workers) -> None:
    attach(workers, "c1", functions=(1, 2))
    workers.detach("c1")
    workers.detach("c1")
    assert not workers.serves(1)
    assert not workers.serves(2)
    assert workers.instance_of("c1") is None
    assert workers._instances == {}
    assert workers._by_function == {}


def test_slots_of_an_instance_outlive_its_connections(workers: Workers) -> None:
    attach(workers, "c1", "w1", limit=1)
    workers.take("w1")
    workers.detach("c1")
    attach(workers, "c2", "w1", limit=1)
    assert workers.pick(1) is None
    workers.free("w1")
    assert workers.pick(1) is not None


def test_an_instance_without_connections_is_forgotten_with_its_last_call(workers: Workers) -> None:
    attach(workers, "c1", "w1")
    workers.take("w1")
    workers.detach("c1")
    workers.free("w1")
    assert workers._instances == {}


def test_a_slot_taken_before_its_worker_is_back_counts(workers: Workers) -> None:
    workers.take("w1")  # a call that was out when the server stopped
    attach(workers, "c1", "w1", limit=1)
    assert workers.pick(1) is None


def test_attaching_again_replaces_the_functions(workers: Workers) -> None:
    attach(workers, "c1", functions=(1,))
    attach(workers, "c1", functions=(2,))
    assert not workers.serves(1)
    assert workers.serves(2)
    workers.detach("c1")
    assert workers._instances == {}


# --- in the partition ---


def test_calls_beyond_the_limit_wait_and_go_as_soon_as_one_is_back() -> None:
    s = Scenario()
    s.sync({})
    s.attach(limit=2)
    for _ in range(5):
        s.send()
    assert len(s.calls) == 2
    s.reply(returned(), s.calls[0])
    assert len(s.calls) == 3
    assert s.call.attempt == 0


def test_what_no_worker_can_do_waits_for_one_that_can() -> None:
    s = Scenario()
    s.sync({"fn": "ship"}, {"fn": "bill"})
    s.attach("c1", "shop-ship")
    s.send()
    s.pass_ms(3_600_000)
    assert {call.function_no for call in s.calls} == {1}
    s.attach("c2", "shop-bill")
    assert s.call.function_no == 2
    assert s.call.connection_id == "c2"


def test_runs_of_an_archived_function_are_finished() -> None:
    s = Scenario()
    s.sync({"fn": "ship"}, {"fn": "bill"})
    s.send()
    s.sync({"fn": "bill"})
    s.send()
    s.attach("c1", "shop-ship")
    assert [call.function_no for call in s.calls] == [1]
    assert s.reply(returned())


def test_a_name_that_no_function_has_is_no_hindrance() -> None:
    s = Scenario()
    s.sync({})
    s.attach("c1", "shop-ship", "shop-of-tomorrow")
    s.send()
    assert len(s.calls) == 1


def test_the_oldest_run_goes_first_whatever_its_function() -> None:
    s = Scenario()
    s.sync({"fn": "ship"}, {"fn": "bill", "triggers": [{"event": "bill/due"}]})
    s.send("bill/due")
    s.send("order/paid")
    s.send("bill/due")
    s.attach(limit=1)
    for _ in range(2):
        s.reply(returned())
    assert [call.function_no for call in s.calls] == [2, 1, 2]


def test_all_that_waits_goes_out_by_age_over_all_functions() -> None:
    s = Scenario()
    s.sync({"fn": "ship"}, {"fn": "bill", "triggers": [{"event": "bill/due"}]})
    for name in ("order/paid", "bill/due", "bill/due", "order/paid", "bill/due", "order/paid"):
        s.send(name)
    s.attach()
    assert [call.function_no for call in s.calls] == [1, 2, 2, 1, 2, 1]


def test_a_full_worker_does_not_hold_up_functions_of_others() -> None:
    s = Scenario()
    s.sync({"fn": "ship"}, {"fn": "bill", "triggers": [{"event": "bill/due"}]})
    s.attach("c1", "shop-ship", limit=1)
    s.attach("c2", "shop-bill")
    s.send("order/paid")
    s.send("order/paid")
    s.send("bill/due")
    assert [call.connection_id for call in s.calls] == ["c1", "c2"]


def test_no_more_calls_are_given_out_in_a_turn_than_its_bound() -> None:
    s = Scenario()
    s.sync({})
    s.send_many(*({"name": "order/paid", "data": {}} for _ in range(GIVE_OUT_MAX + 50)))
    s.attach(limit=1_000)
    assert len(s.calls) == GIVE_OUT_MAX
    assert s.partition.next_wakeup_ms() <= s.now_ms
    s.step()
    assert len(s.calls) == GIVE_OUT_MAX + 50
    assert s.partition.next_wakeup_ms() > s.now_ms


# --- by free capacity ---


def test_the_least_loaded_relative_to_its_limit_is_next(workers: Workers) -> None:
    attach(workers, "small", limit=2)
    attach(workers, "large", limit=10)
    order = taken(workers)
    assert Counter(order) == {"small": 2, "large": 10}
    assert Counter(order[:6]) == {"small": 1, "large": 5}, "both are half full"


def test_a_connection_that_is_busy_with_other_functions_gets_fewer_calls(workers: Workers) -> None:
    attach(workers, "c1", limit=10, functions=(1, 2))
    attach(workers, "c2", limit=10, functions=(1,))
    for _ in range(8):
        workers.take("c1")
    assert taken(workers)[:8] == ["c2"] * 8


def test_a_newer_version_is_preferred_only_as_far_as_it_has_room(workers: Workers) -> None:
    attach(workers, "old", limit=10, version_ms=1)
    attach(workers, "new", limit=10, version_ms=2)
    order = taken(workers)
    assert Counter(order) == {"old": 10, "new": 10}
    assert Counter(order[:10])["new"] >= 7


def test_many_old_connections_outweigh_one_that_is_new(workers: Workers) -> None:
    for number in range(30):
        attach(workers, f"old{number}", version_ms=1)
    attach(workers, "new", version_ms=2)
    counts = picked(workers, 400)
    assert counts["new"] == 100
    assert {counts[f"old{number}"] for number in range(30)} == {10}


def test_a_full_version_is_passed_over_and_has_no_credit_to_catch_up_with(
    workers: Workers,
) -> None:
    attach(workers, "old", limit=1_000, version_ms=1)
    attach(workers, "new", limit=1, version_ms=2)
    workers.take("new")
    assert picked(workers, 50) == {"old": 50}
    workers.free("new")
    assert picked(workers, 11)["new"] <= 11
    assert picked(workers, 110)["old"] == 10


def test_a_version_alone_is_asked_for(workers: Workers) -> None:
    for name in ("v1", "v2"):
        workers.attach(
            name,
            instance_id=name,
            limit=1,
            functions=(1,),
            version_ms=int(name[1]),
            versions={1: name},
        )
    chosen = workers.pick(1, "v1")
    assert chosen is not None
    assert chosen.connection_id == "v1"
    workers.take("v1")
    assert workers.pick(1, "v1") is None
    assert workers.pick(1, "v3") is None
    assert workers.has_version(1, "v2")
    workers.detach("v2")
    assert not workers.has_version(1, "v2")


def test_a_function_that_a_version_does_not_have_never_goes_there() -> None:
    s = Scenario()
    s.sync({"fn": "ship"}, {"fn": "bill", "triggers": [{"event": "bill/due"}]})
    s.attach("old", "shop-ship", "shop-bill", version_ms=1, version="v1")
    s.sync({"fn": "ship"})  # the new version has no bill any more
    s.attach("new", "shop-ship", version_ms=2, version="v2")
    for _ in range(22):
        s.send("bill/due")
        s.send("order/paid")
    assert {call.connection_id for call in s.calls if call.function_no == 2} <= {"old"}
    assert {call.connection_id for call in s.calls if call.function_no == 1} == {"old", "new"}
