"""One fixed course of events that a server puts its store through, for the power to fail in.

It holds every kind of write, payloads that need pages of their own, commits of one report and of
many, housekeeping in quiet moments, and restarts. What the store holds after each act is known from
playing it on the memory store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, assert_never

import msgspec

from stepwell.engine.rows import (
    DeleteErrand,
    DeleteRequestSecrets,
    DeleteRoute,
    DeleteSchedule,
    DeleteWatch,
    HistoryKind,
    PutApp,
    PutDedup,
    PutErrand,
    PutFunction,
    PutHistory,
    PutQuarantine,
    PutRequestSecrets,
    PutRoute,
    PutSchedule,
    PutTransport,
    PutWatch,
    PutWorker,
    RunStatus,
    SetEventRuns,
    TrimWorkers,
    UpdateRun,
    WatchKind,
    Write,
)
from stepwell.store.memory import MemoryStore
from tests.store.contents import contents_of
from tests.store.stories import START_MS, Story

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stepwell.store.interface import Store
    from stepwell.wire.ids import RunId

DEDUP_KEYS = [(1, f"order-{number}") for number in range(40)]
DEDUP_MS = 40
WATCH_KEYS = [
    (WatchKind.EVENT, "order/paid", "", b""),
    (WatchKind.EVENT, "order/paid", '["async","data","id"]', b'"7"'),
    (WatchKind.SIGNAL, "go", "", b""),
]
BIG = b"[" + b"1," * 6_000 + b"1]"
"""Three pages."""


class Commit(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Rows become durable."""

    writes: list[Write]


class Expire(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Expired dedup pairs are deleted."""

    now_ms: int


class Idle(msgspec.Struct, frozen=True, tag=True):
    """Nothing happens, so the store tidies up."""


class Restart(msgspec.Struct, frozen=True, tag=True):
    """The server stops in good order and starts again."""


Act: TypeAlias = Commit | Expire | Idle | Restart


def make_acts(*, runs: int = 45, big: bytes = BIG) -> list[Act]:
    """The scenario: the same acts each time.

    Args:
        runs: How many runs begin; the power-loss suite wants 2,000 calls of the disk.
        big: A payload that needs pages of its own.
    """
    story = Story(seed=8)
    acts: list[Act] = [Commit(writes=_catalog(version=1))]
    waiting: list[tuple[RunId, int]] = []
    for number in range(runs):
        story.tick(3)
        run_id, intake = story.intake(data=big if number % 15 == 9 else b"d" * 100)
        acts.append(
            Commit(
                writes=[*intake, _dedup(story, run_id, number), *_watching(story, run_id, number)]
            )
        )
        waiting.append((run_id, 0))
        if number % 5 == 4:
            acts += _reports_of_many(story, waiting, output=big[:3_000])
            waiting = waiting[-2:]  # two of them go on while the next ones begin
        else:
            acts.append(Commit(writes=_report(story, run_id, number, big)))
        if number % 9 == 8:
            acts.append(Idle())
            acts.append(Expire(now_ms=story.now_ms))
            acts.append(Commit(writes=_workers(story, number)))
        if number % 20 == 19:
            acts.append(Restart())
            acts.append(Commit(writes=_catalog(version=2 + number)))
        if number == runs - 3:
            acts.append(Commit(writes=[_quarantine(story, run_id)]))
    lives: list[Write] = [
        story.live(waiting[0][0], queued_score=story.now_ms, wake_at_ms=None),
        story.live(waiting[1][0], queued_score=story.now_ms, wake_at_ms=story.now_ms + 60_000),
    ]
    return [*acts, Idle(), Idle(), Commit(writes=lives)]


def perform(store: Store, act: Act) -> None:
    """Do an act. `Restart` is the caller's: it has the store made anew."""
    match act:
        case Commit():
            store.commit(act.writes)
        case Expire():
            store.delete_expired_dedups(now_ms=act.now_ms, limit=3)
        case Idle():
            store.idle()
        case Restart():
            raise AssertionError("a restart is the caller's")
        case _:
            assert_never(act)


def contents_after_each(acts: Sequence[Act]) -> list[dict[str, Any]]:
    """What a store must hold before the first act and after each one."""
    store = MemoryStore()
    found = [contents_of_scenario(store)]
    for act in acts:
        if not isinstance(act, Restart):
            perform(store, act)
        found.append(contents_of_scenario(store))
    return found


def contents_of_scenario(store: Store) -> dict[str, Any]:
    return contents_of(store, dedup_keys=DEDUP_KEYS, watch_keys=WATCH_KEYS, now_ms=START_MS)


def _reports_of_many(story: Story, runs: list[tuple[RunId, int]], output: bytes) -> Iterator[Act]:
    """Five runs report twice, each time in one commit; then the first three of them are over."""
    for position in (1, 2):
        story.tick()
        yield Commit(
            writes=[write for run_id, _ in runs for write in story.report(run_id, position)]
        )
    story.tick()
    ends = [write for run_id, _ in runs[:-2] for write in story.end(run_id, output=output)]
    yield Commit(writes=ends)


def _report(story: Story, run_id: RunId, number: int, big: bytes) -> list[Write]:
    """A step, now and then with a large output, a failed attempt or a row that changes nothing."""
    story.tick()
    writes: list[Write] = [story.step(run_id, 0, data=big if number % 10 == 3 else b"o" * 20)]
    if number % 4 == 1:
        writes.append(
            PutHistory(
                run_id=run_id,
                seq=0,
                at_ms=story.now_ms,
                kind=HistoryKind.ATTEMPT_FAILED,
                step_id="ab" * 20,
                name="charge",
                attempt=0,
                payload=b'{"message":"declined"}',
            )
        )
    if number % 4 == 2:
        writes.append(
            UpdateRun(run_id=run_id, status=RunStatus.RUNNING, started_at_ms=story.now_ms)
        )
    if number % 4 == 3:
        writes.append(story.step(run_id, 0, data=b'"second"'))
        writes += _secrets(run_id, number)
    if number % 3 == 0:
        return [*writes, story.live(run_id, queued_score=story.now_ms, wake_at_ms=None)]
    return [*writes, story.live(run_id, wake_at_ms=number)]


def _secrets(run_id: RunId, number: int) -> list[Write]:
    """Of two requests, of which one is over now and then."""
    secrets: list[Write] = [
        PutRequestSecrets(run_id=run_id, seq=seq, secrets=b'{"auth_key":"%d"}' % number)
        for seq in (0, 1)
    ]
    if number % 8 == 3:
        return secrets
    return [*secrets, DeleteRequestSecrets(run_id=run_id, seq=1)]


def _dedup(story: Story, run_id: RunId, number: int) -> PutDedup:
    no, key = DEDUP_KEYS[number % len(DEDUP_KEYS)]
    return PutDedup(function_no=no, key=key, run_id=run_id, expires_at_ms=story.now_ms + DEDUP_MS)


def _watching(story: Story, run_id: RunId, number: int) -> list[Write]:
    """The run waits for something, the one before it waits no more; an errand is made or done."""
    kind, subject, path, value = WATCH_KEYS[number % len(WATCH_KEYS)]
    watch_id = number.to_bytes(16, "big")
    writes: list[Write] = [
        PutWatch(
            kind=kind, subject=subject, path=path, value=value, watch_id=watch_id, run_id=run_id
        )
    ]
    if number % 7:
        kind, subject, path, value = WATCH_KEYS[(number - 1) % len(WATCH_KEYS)]
        watch_id = (number - 1).to_bytes(16, "big")
        writes.append(
            DeleteWatch(kind=kind, subject=subject, path=path, value=value, watch_id=watch_id)
        )
    errand_id = (number // 3 % 4).to_bytes(16, "big")
    event = story.event()
    if number % 3 == 1:
        return [*writes, DeleteErrand(errand_id=errand_id), event]
    late = SetEventRuns(event_id=event.event_id, runs=(run_id,))
    return [*writes, PutErrand(errand_id=errand_id, body=b"%d" % number), event, late]


def _catalog(version: int) -> list[Write]:
    app = PutApp(
        name="shop",
        app_id="8a5b",
        url="wss://connect",
        sdk="stepwell-py:v0.1.0",
        framework="",
        app_version=str(version),
        checksum=f"{version:064x}",
        method="connect",
        synced_at_ms=START_MS + version,
    )
    function = PutFunction(
        no=1,
        function_id="1d0f",
        app_name="shop",
        slug="shop-order",
        version=version,
        config=b'{"id":"shop-order"}',
        created_at_ms=START_MS,
    )
    schedule = PutSchedule(function_no=1, cron="* * * * *", last_ms=START_MS + version)
    other = PutSchedule(function_no=1, cron=f"{version % 60} * * * *", last_ms=0)
    gone = DeleteSchedule(function_no=1, cron="1 * * * *")
    transport = PutTransport(
        app_name="shop",
        method="connect",
        url=app.url,
        sdk=app.sdk,
        framework="",
        app_version=app.app_version,
        checksum=app.checksum,
        synced_at_ms=app.synced_at_ms,
        functions=b'{"shop-order":""}',
    )
    kept = PutRoute(app_name="shop", slug="shop-order", connect_percent=None, pin=True)
    route: Write = PutRoute(app_name="shop", slug="", connect_percent=version % 101)
    if version % 3 == 0:
        route = DeleteRoute(app_name="shop", slug="")
    return [app, function, schedule, other, gone, transport, kept, route]


def _workers(story: Story, number: int) -> list[Write]:
    """A worker came, the one before it has left, and an earlier one is forgotten."""
    workers: list[Write] = [
        PutWorker(
            connection_id=place.to_bytes(16, "big"),
            instance_id=f"box-{place % 2}",
            ended_at_ms=ended_at_ms,
            app_names=("shop", f"other-{place}"),
            body=b'{"status":"READY"}' * 20,
        )
        for place, ended_at_ms in ((number + 9, None), (number, story.now_ms))
    ]
    return [*workers, TrimWorkers(ended_before_ms=0, keep=2, limit=5)]


def _quarantine(story: Story, run_id: RunId) -> PutQuarantine:
    return PutQuarantine(
        at_ms=story.now_ms, run_id=run_id, input_repr="CallReported(...)", traceback="Traceback"
    )
