"""The partition's collections against the plainest model of each."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.engine.leases import Leases
from stepwell.engine.queue.backlog import Backlog
from stepwell.engine.queue.timers import Timers
from stepwell.engine.rows import RunStatus
from stepwell.engine.state import Job, Phase, Run, RunState, Sleep
from stepwell.engine.workers import Workers
from stepwell.wire.ids import EventId, RequestId, RunId, ulid_bytes


def a_run(ms: int, number: int) -> Run:
    return Run(
        run_id=RunId(ulid_bytes(ms, number.to_bytes(10, "big"))),
        function_no=1,
        event_id=EventId(bytes(16)),
        status=RunStatus.RUNNING,
        started_at_ms=1,
        state=RunState(),
        stored=True,
    )


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("grant"), st.integers(0, 3)),
            st.tuples(st.sampled_from(("extend", "drop", "end")), st.integers(0, 30)),
            st.tuples(st.just("pass"), st.integers(0, 60)),
        ),
        max_size=60,
    ),
    st.sampled_from((5, 40, 200)),
)
def test_leases_end_at_their_time_whatever_happened_to_them(
    acts: list[tuple[str, int]], grace_ms: int
) -> None:
    leases = Leases(lease_ms=100, grace_ms=grace_ms)
    now_ms = 0
    until: dict[RequestId, int] = {}
    held: dict[RequestId, str] = {}
    for number, (kind, value) in enumerate(acts):
        ids = sorted(until)
        request_id = ids[value % len(ids)] if ids else None
        if kind == "grant":
            new = RequestId(ulid_bytes(1, number.to_bytes(10, "big")))
            leases.grant(a_run(1, 1), Job(no=0, request_id=new), f"c{value}", now_ms)
            until[new], held[new] = now_ms + 100, f"c{value}"
        elif kind == "pass":
            now_ms += value
            over = set()
            while (lease := leases.pop_ended(now_ms)) is not None:
                assert lease.job.request_id is not None
                over.add(lease.job.request_id)
            assert over == {each for each, end_ms in until.items() if end_ms <= now_ms}
            for each in over:
                del until[each]
                held.pop(each, None)
        elif request_id is None:
            continue
        elif kind == "extend":
            leases.extend(request_id, "c9", now_ms)
            until[request_id], held[request_id] = now_ms + 100, "c9"
        elif kind == "end":
            leases.end(request_id)
            del until[request_id]
            held.pop(request_id, None)
        elif request_id in held:
            leases.drop(request_id, now_ms)
            until[request_id] = now_ms + grace_ms
            del held[request_id]
        assert len(leases) == len(until)
        assert leases.next_ms() == min(until.values(), default=None)
        for connection in ("c0", "c1", "c2", "c3", "c9"):
            expected = sorted(each for each, name in held.items() if name == connection)
            assert leases.of_connection(connection) == expected


@given(
    st.lists(
        st.one_of(
            st.tuples(
                st.just("attach"), st.integers(0, 3), st.sampled_from((None, 1, 2)),
                st.sets(st.integers(1, 3)),
            ),
            st.tuples(st.just("detach"), st.integers(0, 3)),
            st.tuples(st.just("call"), st.integers(1, 3)),
            st.tuples(st.just("free"), st.integers(0, 9)),
        ),
        max_size=80,
    )
)  # fmt: skip
def test_slots_are_taken_and_freed_in_pairs(acts: list[tuple[Any, ...]]) -> None:
    workers = Workers()
    out: list[str] = []
    serving: dict[str, tuple[str, set[int]]] = {}
    limits: dict[str, int] = {}
    for act in acts:
        match act:
            case ("attach", number, limit, functions):
                name, instance = f"c{number}", f"w{number % 2}"
                workers.attach(
                    name, instance_id=instance, limit=limit, functions=functions, version_ms=number
                )
                serving[name] = instance, functions
                limits[instance] = limit or 1_000
            case ("detach", number):
                workers.detach(f"c{number}")
                serving.pop(f"c{number}", None)
            case ("call", no):
                able = {
                    name
                    for name, (instance, functions) in serving.items()
                    if no in functions and out.count(instance) < limits[instance]
                }
                chosen = workers.pick(no)
                assert (chosen is None) == (not able)
                if chosen is not None:
                    assert chosen.connection_id in able
                    workers.take(chosen.instance.instance_id)
                    out.append(chosen.instance.instance_id)
            case ("free", number):
                if out:
                    workers.free(out.pop(number % len(out)))
    for name in list(serving):
        workers.detach(name)
    for instance in out:
        workers.free(instance)
    assert workers._instances == {}
    assert workers._by_function == {}
    assert workers._connections == {}


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.just("new"), st.just("new"), st.just("give out"), st.just("load"), st.just("wake")
        ),
        max_size=120,
    ),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_every_run_comes_once_and_those_that_never_left_in_order(
    acts: list[str], window: int, page: int
) -> None:
    """A backlog over a pretended store: new runs, runs that come back from elsewhere, pages."""
    backlog = Backlog(window)
    disk: list[Run] = []  # all that are queued, in order of place
    memory: dict[RunId, Run] = {}
    came: list[Run] = []
    away: list[Run] = []  # they began and wait for something else

    def push(run: Run) -> None:
        job = Job(no=0)
        run.state.jobs = [job]
        memory[run.run_id] = run
        backlog.push(run, job)

    def give_out() -> None:
        place = backlog.head(1)
        if place is not None:
            run, job = backlog.pop(1)
            job.phase = Phase.OVER
            disk.remove(run)
            del memory[run.run_id]
            came.append(run)
            away.append(run)

    def load() -> None:
        for _no, after in backlog.wanted():
            behind = [run for run in disk if after is None or (run.queued_ms, run.run_id) > after]
            found = behind[:page]
            for run in found:
                if run.run_id not in memory:
                    push(run)
            last = (found[-1].queued_ms, found[-1].run_id) if found else None
            backlog.loaded(1, last, more=len(found) == page)

    def trim() -> None:
        for run in backlog.trim(0):
            memory.pop(run.run_id, None)

    new = 0
    woken = 0
    for act in acts:
        if act == "new":
            new += 1
            run = a_run(new, new)
            disk.append(run)
            if backlog.admits(run):
                push(run)
        elif act == "give out":
            give_out()
        elif act == "load":
            load()
        elif away:
            woken += 1
            run = away.pop(0)
            disk.append(run)
            disk.sort(key=lambda each: (each.queued_ms, each.run_id))
            push(run)
        trim()
    while disk:
        before = len(disk)
        load()
        trim()
        give_out()
        assert len(disk) < before or backlog.wanted(), "a queued run is never given out"
    assert len(came) == new + woken
    assert len({run.run_id for run in came}) == new
    if not woken:
        assert [run.queued_ms for run in came] == list(range(1, new + 1))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("sleep"), st.integers(0, 50)),
            st.tuples(st.just("withdraw"), st.integers(0, 50)),
            st.tuples(st.just("pass"), st.integers(0, 20)),
        ),
        max_size=80,
    ),
    st.integers(1, 5),
)
def test_every_time_comes_when_it_is_due(acts: list[tuple[str, int]], window: int) -> None:
    """Timers over a pretended store that holds all times."""
    timers = Timers(window)
    now_ms = 0
    waiting: list[tuple[Run, Sleep]] = []
    timers.move(30, ())
    for kind, value in [*acts, ("pass", 100)]:
        if kind == "sleep":
            run = a_run(1, len(waiting))
            sleep = Sleep(step_id="s", name="s", started_ms=now_ms, due_ms=now_ms + value)
            run.state.sleeps.append(sleep)
            waiting.append((run, sleep))
            timers.push(run, sleep)
        elif kind == "withdraw" and waiting:
            run, sleep = waiting.pop(value % len(waiting))
            run.state.sleeps.remove(sleep)
        elif kind == "pass":
            end_ms = now_ms + value
            while (wake_ms := timers.next_ms()) <= end_ms:
                now_ms = max(now_ms, wake_ms)
                if now_ms >= timers.horizon_ms:
                    timers.move(now_ms + 30, [run for run, _sleep in waiting])
                while (item := timers.pop_due(now_ms)) is not None:
                    run, wait = item
                    assert isinstance(wait, Sleep)
                    assert wait.due_ms <= now_ms
                    run.state.sleeps.remove(wait)
                    waiting.remove((run, wait))
                if timers.overfull:
                    timers.draw_nearer()
                    assert timers.horizon_ms > now_ms or not timers.overfull
            now_ms = end_ms
            assert all(sleep.due_ms > now_ms for _run, sleep in waiting), "one was missed"
