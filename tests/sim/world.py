"""A whole simulated installation: server, workers, producers, clock and chance, from one seed.

Everything happens at a millisecond of a virtual clock, in an order that only the seed decides.
Faults are rare events with a budget; when it is used up the world is kind, so every run can end.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import msgspec

from stepwell.engine.turn import EngineConfig
from stepwell.wire.events import EventSeed, parse_events
from stepwell.wire.functions import parse_register
from stepwell.wire.ids import ulid_text
from tests.sim.generated import CANCEL, NEWS, STOP, generate
from tests.sim.network import MESSAGE_FATES, Network
from tests.sim.outside import Outside
from tests.sim.programs import DEFERRED_SLUG, HANDLER_SLUG_END, Do, Program
from tests.sim.routed import Routed
from tests.sim.server import Server
from tests.sim.waited import Waited
from tests.sim.worker import Worker
from tests.unit.engine.scenario import START_MS, function_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.wire.ids import RequestId, RunId

APP = "sim"
END_MS = START_MS + 60 * 86_400_000
EVENTS_MAX = 150_000
"""A run that goes on so long, or takes so much, does not end."""

HOUSEKEEPING_MS = 30_000
"""So long after the clock was set the server notices what is due."""

DOWN_MS = 1_000
"""So long after it died the server is started again, at most."""

AFTERMATH_MS = 10_000
"""When all is over the server still has this time to tidy up."""

CALL_FATES = (
    "dies",
    "hangs",
    "late",
    "no ack",
    "loses connection",
    "connection lost before ack",
    "drains",
    "replies twice",
    "answers nothing",
    "asks to be called again",
    "tells an old step again",
    "raises",
    "poisons",
)
COMMIT_FAULTS = (
    "crash before commit",
    "crash after commit",
    "crash amid effects",
    "commit failed",
    "commit failed in its last act",
)
ACCIDENTS = ("killed", "clock set forward", "clock set back", "synced again")
KIND_ACCIDENTS = ACCIDENTS[1:]
REQUEST_FATES = ("request lost", "request late")
CRONS = (
    ({"cron": "*/5 * * * *"},),
    ({"cron": "*/5 * * * *"}, {"cron": "*/10 * * * *"}),
    ({"cron": "*/5 * * * *", "jitter": "30s"}, {"cron": "0-59/5 * * * *"}),
    ({"cron": "TZ=Asia/Tokyo 0 * * * *", "jitter": "5m"}, {"cron": "0 9-17 * * *"}),
)
"""Schedules that a function may have."""

TICK_SLUG = "sim-tick"
END_SLUG = "sim-end"
DISKS = {
    "fast disk": (0, 0, 0, 1),
    "slow disk": (3, 5, 8, 40, 400),
    "stalling disk": (0, 0, 0, 0, 0, 0, 1, 1, 50, 900),
}
"""How many milliseconds a commit takes, each as likely."""

HANDLER = Program(nodes=(Do(name="tell"),), retries=0)
"""What runs when a function has failed, was deferred, or when its time has come."""


class Planned:
    """Something on the agenda. `counts`: the world goes on until it has happened."""

    __slots__ = ("act", "counts", "is_cancelled", "label")

    def __init__(self, label: str, act: Callable[[], None], *, counts: bool) -> None:
        self.label = label
        self.act = act
        self.counts = counts
        self.is_cancelled = False

    def cancel(self) -> None:
        """As a loop's handle does; what was cancelled never counted."""
        self.is_cancelled = True


class World:
    """One simulation.

    Args:
        seed: Decides everything.
        faults: How many may happen; None lets the seed choose.
        crash_at: Crash in this way at this commit, counted from 0 after the sync.
        effects: Of a crash amid effects: how many have left.
        disk: One of `DISKS`; None lets the seed choose.
        programs: A story: each is run once, and no limit cuts it short.
    """

    def __init__(
        self,
        seed: int,
        *,
        faults: int | None = None,
        crash_at: tuple[int, str] | None = None,
        effects: int | None = None,
        disk: str | None = None,
        programs: tuple[Program, ...] | None = None,
        verbose: bool = False,
    ) -> None:
        self.seed = seed
        self._random = random.Random(seed)
        self.faults_given = faults
        self.crash_given = crash_at
        self.effects_given = effects
        self.disk_given = disk
        chosen = max(0, self._random.randint(-8, 40))
        self._faults_left = chosen if faults is None else faults
        self.is_kind = self._faults_left == 0 and crash_at is None
        """Whether nothing goes wrong but the clock, and perhaps the disk is slow."""
        self._crash_at = crash_at
        self._verbose = verbose
        self._digest = hashlib.sha256()
        self._agenda: list[tuple[int, int, Planned]] = []
        self._seq = 0
        self._counting = 0
        self.now_ms = START_MS
        self.clock_ahead_ms = 0
        """How far the wall clock is ahead of the time that passes."""
        self.broken: str | None = None
        """The first invariant that did not hold."""
        self.count: Counter[str] = Counter()
        self.poison: dict[RequestId, RunId] = {}
        """Calls whose report the engine cannot bear, and their runs."""
        self.raised: set[RunId] = set()
        """Runs whose function raised without a reason of its own."""
        self.bodies: dict[RunId, Counter[str]] = {}
        """How often the body of each step ran."""
        count = self._random.randint(1, 5)
        self.programs = programs or tuple(
            generate(self._random, number, count) for number in range(count)
        )
        self.synced_ms = 0
        self.down_ms = 0
        """For how long there was no server, at most."""
        self.lease_ms = 2_000
        choose = self._random.choice
        self.config = EngineConfig(
            lease_ms=self.lease_ms,
            reconnect_grace_ms=choose((100, 500, 3_000)),
            retry_interval_ms=choose((None, 0, 1_000)),
            queue_window=choose((1, 2, 5, 1_000)),
            timer_window=choose((1, 2, 5, 1_000)),
            steps_max=choose((4, 1_000, 1_000, 1_000)),
            state_bytes_max=choose((80, 2**20, 2**20, 2**20, 2**20)),
            step_requests_max=choose((1, 2, 200)),
        )
        self.routed = Routed(self, APP)
        self.config = msgspec.structs.replace(self.config, pin_wait_ms=self.routed.pin_wait_ms)
        self._tells_a_story = programs is not None
        if self._tells_a_story:
            self.config = EngineConfig(lease_ms=self.lease_ms, reconnect_grace_ms=500)
        self.crons = choose((*CRONS, (), ())) if programs is None else ()
        chosen_disk = choose(list(DISKS))
        self.disk = chosen_disk if disk is None else disk
        self.functions = frozenset((APP, name) for name in self._function_names())
        self.network = Network(self)
        self.server = Server(self, self.config)
        self.waited = Waited(self)
        self.outside = Outside(self, self._random)
        self.workers = [
            Worker(self, self.routed.name_of(number), limit=choose((None, 1, 2, 5)))
            for number in range(self._random.randint(1, 3))
        ]
        self.sent: dict[tuple[str, str], int] = {}
        """How often an event was sent, by name and producer's id (or its place)."""
        self._unanswered = 0

    # --- running ---

    def run(self) -> None:
        """Let everything happen until nothing is left to happen."""
        self._start()
        for worker in self.workers:
            self.later(self.soon_ms(2_000), f"{worker.name} starts", worker.connect)
        for number, named in enumerate(self._requests()):
            self._send_later(number, named)
        self.outside.start(tells_a_story=self._tells_a_story)
        if not self._tells_a_story:
            self.routed.start()
        accidents = KIND_ACCIDENTS if self.is_kind else ACCIDENTS
        if self.crash_given is None and self.faults_given is None:
            for _ in range(self._random.randint(0, 3)):
                self._accident_later(self._random.choice(accidents))
        while self._counting or self._unanswered or self.server.committed.live:
            self._next()
            goes_on = self.now_ms < END_MS and self._seq < EVENTS_MAX
            assert goes_on, "1: a run does not end, or a producer is not answered"
        until_ms = self.now_ms + AFTERMATH_MS
        while self._agenda and (self._agenda[0][0] <= until_ms or self._counting):
            self._next()
        assert self.server.up, "15: the server comes up again"
        self._faults_left = 0

    def stop(self) -> None:
        """Nothing of the world is left running."""
        self.server.crash()

    def later(
        self, delay_ms: int, label: str, act: Callable[[], None], *, counts: bool = True
    ) -> Planned:
        """Put something on the agenda."""
        self._seq += 1
        planned = Planned(label, act, counts=counts)
        self._counting += counts
        heappush(self._agenda, (self.now_ms + max(delay_ms, 0), self._seq, planned))
        return planned

    def stall(self, ms: int) -> None:
        """The server's only thread is busy: time passes, and nothing else happens."""
        self.now_ms += ms

    def _next(self) -> None:
        at_ms, _seq, planned = heappop(self._agenda)
        self.now_ms = max(self.now_ms, at_ms)
        self._counting -= planned.counts
        if planned.is_cancelled:
            return
        self.log(planned.label)
        planned.act()
        if self.broken is not None:
            raise AssertionError(self.broken)

    def log(self, text: str) -> None:
        """Remember what happened: two runs of a seed must say the same."""
        line = f"{self.now_ms - START_MS:>10} {text}\n"
        self._digest.update(line.encode())
        if self._verbose:
            print(line, end="")

    def digest(self) -> str:
        """Of all that happened and all that was stored."""
        digest = self._digest.copy()
        for run in self.server.reader.runs(newest_first=False, limit=10_000):
            digest.update(repr(run).encode())
            digest.update(repr(self.server.reader.steps(run.run_id)).encode())
            digest.update(repr(self.server.reader.history(run.run_id)).encode())
        return digest.hexdigest()

    # --- chance ---

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def soon_ms(self, most_ms: int) -> int:
        return self._random.randint(0, most_ms)

    def bits(self, count: int) -> int:
        """Where the server's ids come from."""
        return self._random.getrandbits(count)

    def disk_ms(self) -> int:
        """How long a commit takes."""
        return self._random.choice(DISKS[self.disk])

    def socket_ms(self) -> int:
        """How long a call waits for room on its socket."""
        return self._random.choice((0,) * 19 + (300,))

    def body_ms(self) -> int:
        """How long a call takes."""
        return self._random.choice((0, 1, 5, 50, 400, 3 * self.lease_ms))

    def call_fate(self) -> str:
        """What befalls a call that has reached its worker."""
        fate = self._fault(CALL_FATES, 0.2)
        if fate is None:
            return "goes well"
        self.count[fate] += 1
        return fate

    def request_fate(self) -> str | None:
        """What befalls a request that the server makes."""
        fate = self._fault(REQUEST_FATES, 0.2)
        if fate is not None:
            self.count[fate] += 1
        return fate

    def message_fate(self) -> str | None:
        """What befalls a message."""
        return self._fault(MESSAGE_FATES, 0.03)

    def commit_fault(self) -> str | None:
        """What befalls a commit."""
        if self._crash_at is not None:
            at, fault = self._crash_at
            if self.server.commits - 1 != at:
                return None
            self._crash_at = None
        else:
            drawn = self._fault(COMMIT_FAULTS, 0.05)
            if drawn is None:
                return None
            fault = drawn
        if fault.startswith("commit failed"):
            self.count[fault] += 1
        return fault

    def effects_before_crash(self) -> int:
        """How many orders have left when the server dies amid them."""
        return self._random.randint(1, 3) if self.effects_given is None else self.effects_given

    def read_fails(self) -> bool:
        """Whether the disk cannot be read."""
        return self._counted("read failed", 0.004)

    def engine_raises(self) -> bool:
        """Whether a defect shows, once."""
        return self._counted("engine raised", 0.004)

    def _counted(self, fault: str, probability: float) -> bool:
        hit = self._fault((fault,), probability) is not None
        self.count[fault] += hit
        return hit

    def _fault(self, kinds: tuple[str, ...], probability: float) -> str | None:
        if self._faults_left <= 0 or not self.chance(probability):
            return None
        self._faults_left -= 1
        return self._random.choice(kinds)

    # --- accidents ---

    def crash(self, how: str) -> None:
        """The server's process dies and is started again."""
        self.log(f"  {how}")
        self.count[how] += 1
        self.down_ms += DOWN_MS
        self.count["crash during a commit"] += self.server.disk.at_work
        self.server.crash()
        for worker in self.workers:
            worker.server_crashed()
        self.later(self.soon_ms(DOWN_MS), "server starts", self.server.start)

    def may_lose_power(self) -> None:
        """A commit failed in its last act: the process may die before the next one."""
        if self.chance(0.5):
            life = self.server.life

            def die() -> None:
                if self.server.life == life:
                    self.crash("killed")

            self.later(self.soon_ms(20), "power fails", die)

    def _accident_later(self, what: str) -> None:
        self.later(self.soon_ms(12_000), what, lambda: self._accident(what))

    def _accident(self, what: str) -> None:
        if what == "killed":
            if self.server.up:
                self.crash(what)
            return
        self.count[what] += 1
        self.count[f"{what} during a commit"] += self.server.busy
        if what == "synced again":
            self._sync(version=str(self.now_ms), answer=lambda _answer: None)
            return
        ms = self._random.choice((500, 5_000, 90_000, 3_600_000))
        if what == "clock set forward":
            # Whatever was to happen meanwhile happens late.
            self.server.committed.late_ms += ms + HOUSEKEEPING_MS
            self.clock_ahead_ms += ms
        else:
            self.clock_ahead_ms -= ms

    def expects(self, code: str, message: str) -> bool:
        """Whether the server may say so: it is what was done to it."""
        if message.startswith("not committed"):
            return code == "store_unavailable"
        return message.startswith("the engine failed on") and (
            self.count["engine raised"] > 0 or len(self.poison) > 0
        )

    # --- what peers know ---

    def program(self, slug: str) -> Program:
        """The program of a function."""
        if slug.endswith(HANDLER_SLUG_END) or slug in (TICK_SLUG, END_SLUG, DEFERRED_SLUG):
            return HANDLER
        return self.programs[int(slug.removeprefix(f"{APP}-p"))]

    def program_of(self, run_id: RunId) -> Program:
        """The program of a stored run."""
        run = self.server.reader.run(run_id)
        assert run is not None, "a run is stored"
        return self.program(self.waited.by_no(run.function_no).slug)

    @staticmethod
    def short(request_id: bytes) -> str:
        return ulid_text(request_id)[-4:]

    # --- functions and events ---

    def _function_names(self) -> list[str]:
        return [
            f"{APP}-{name}"
            for number in range(len(self.programs))
            for name in (f"p{number}", f"p{number}{HANDLER_SLUG_END}")
        ] + [TICK_SLUG, END_SLUG, DEFERRED_SLUG]

    def _start(self) -> None:
        """Without faults: before anything else the functions are there."""
        faults_left, self._faults_left = self._faults_left, 0
        crash_at, self._crash_at = self._crash_at, None
        self.server.start()
        answers: list[bool | None] = []
        self._sync(version="1", answer=answers.append)
        while not answers:
            self._next()
        self.synced_ms = self.server.now_ms()
        self._faults_left, self._crash_at = faults_left, crash_at

    def _sync(self, *, version: str, answer: Callable[[bool | None], None]) -> None:
        functions: list[dict[str, Any]] = []
        for number, program in enumerate(self.programs):
            of_run = [{"event": f"sim/p{number}"}]
            expression = f"event.data.function_id == '{APP}-p{number}'"
            of_failure = [{"event": "inngest/function.failed", "expression": expression}]
            functions += (
                function_config(
                    APP,
                    f"p{number}",
                    retries=program.retries,
                    triggers=of_run,
                    cancel=[CANCEL] if program.cancels else [],
                    timeouts={"start": _text(program.start_ms), "finish": _text(program.finish_ms)},
                ),
                function_config(
                    APP, f"p{number}{HANDLER_SLUG_END}", retries=0, triggers=of_failure
                ),
            )
        deferred = f"event.data._inngest.fn_slug == '{DEFERRED_SLUG}'"
        of_end = f"event.data.function_id == '{APP}-p0' && event.data.event.data.number >= 0"
        others = {
            DEFERRED_SLUG: [{"event": "inngest/deferred.schedule", "expression": deferred}],
            END_SLUG: [{"event": "inngest/function.finished", "expression": of_end}],
            TICK_SLUG: list(self.crons),
        }
        functions += (
            function_config(APP, slug.removeprefix(f"{APP}-"), retries=0, triggers=triggers)
            for slug, triggers in others.items()
        )
        body = {
            "appName": APP,
            "url": "ws://connect",
            "functions": functions,
            "appVersion": version,
        }
        self.server.register(parse_register(json.dumps(body).encode()), answer)

    def _requests(self) -> list[list[tuple[str, int]]]:
        """Which events each producer sends: names, and the run's number that each is about."""
        programs = [f"sim/p{number}" for number in range(len(self.programs))]
        if self._tells_a_story:
            return [[(name, 0) for name in programs], [(NEWS, 0)]]
        choose = self._random
        producers = choose.randint(1, choose.choice((2, 4, 8, 8, 30)))
        requests = [
            [(choose.choice(programs), number) for _ in range(choose.randint(1, 4))]
            for number in range(producers)
        ]
        requests += [
            [
                (choose.choice((NEWS, NEWS, STOP)), choose.randrange(producers))
                for _ in range(choose.choice((1, 2, 3, 8)))
            ]
            for _ in range(choose.randint(0, 2 * producers))
        ]
        return requests

    def _send_later(self, number: int, named: list[tuple[str, int]]) -> None:
        """A producer sends a few events at some time, again until it is answered."""
        events: list[dict[str, Any]] = []
        starts = any(name.startswith("sim/p") for name, _about in named)
        for place, (name, about) in enumerate(named):
            event: dict[str, Any] = {"name": name, "data": {"number": about}}
            if not starts:
                event["data"]["level"] = self._random.randrange(4)
            if self.chance(0.3):
                event["id"] = f"order {self._random.randint(1, 3)}"
            events.append(event)
            key = (name, event.get("id", f"{number}/{place}"))
            self.sent[key] = self.sent.get(key, 0) + 1
        parsed = parse_events(json.dumps(events).encode(), event_bytes_max=2**20)
        seed = EventSeed(ms=START_MS, entropy=number.to_bytes(6, "big") + b"\0\0\0\0")
        peer = f"producer {number}"
        self._unanswered += 1
        is_answered = False

        def hear(stored: bool) -> None:
            nonlocal is_answered
            if stored and not is_answered:
                is_answered = True
                self._unanswered -= 1

        def answer(stored: bool | None) -> None:
            if stored is not None:
                self.network.send("from the server", peer, "answer", lambda: hear(stored))

        def send() -> None:
            self.network.send(
                "to the server",
                peer,
                "events",
                lambda: self.server.receive_events(parsed, seed, answer),
            )

        impatient = self.chance(0.2)

        def send_until_answered() -> None:
            if not is_answered:
                send()
                if impatient:
                    send()
                self.later(1_000, f"{peer} waits for its answer", send_until_answered)

        within_ms = 5_000 if starts else 15_000
        self.later(self.soon_ms(within_ms), f"{peer} sends", send_until_answered)
        if self.chance(0.2):
            # It did not hear the answer.
            self.later(within_ms + 1_000 + self.soon_ms(3_000), f"{peer} repeats", send)


def _text(ms: int | None) -> str | None:
    return None if ms is None else f"{ms}ms"
