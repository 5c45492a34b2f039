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

from stepwell.engine.inputs import AppSynced
from stepwell.engine.turn import EngineConfig
from stepwell.wire.events import EventSeed, parse_events, seeded_event_id
from stepwell.wire.functions import parse_register
from stepwell.wire.ids import EventId, ulid_text
from tests.sim.programs import HANDLER_SLUG_END, Do, Program, generate
from tests.sim.server import Server
from tests.sim.worker import Worker, memo_value
from tests.unit.engine.scenario import START_MS, function_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.wire.ids import RunId

APP = "sim"
END_MS = START_MS + 400 * 86_400_000
"""A run that goes on so long does not end."""

CALL_FATES = (
    "dies",
    "hangs",
    "late",
    "no ack",
    "loses connection",
    "connection lost before ack",
    "drains",
    "reply lost",
    "replies twice",
    "answers nothing",
    "tells an old step again",
)
COMMIT_FAULTS = (
    "crash before commit",
    "crash after commit",
    "crash amid effects",
    "commit failed",
)
HANDLER = Program(nodes=(Do(name="tell"),), retries=0)
"""What runs when a function has failed."""


class World:
    """One simulation.

    Args:
        seed: Decides everything.
        faults: How many may happen; None lets the seed choose.
        crash_at: Crash in this way at this commit, counted from 0 after the sync.
    """

    def __init__(
        self,
        seed: int,
        *,
        faults: int | None = None,
        crash_at: tuple[int, str] | None = None,
        programs: tuple[Program, ...] | None = None,
        verbose: bool = False,
    ) -> None:
        self.seed = seed
        self._random = random.Random(seed)
        self.faults_given = faults
        self.crash_given = crash_at
        chosen = self._random.randint(0, 40)
        self._faults_left = chosen if faults is None else faults
        self._crash_at = crash_at
        self._verbose = verbose
        self._digest = hashlib.sha256()
        self._agenda: list[tuple[int, int, str, Callable[[], None]]] = []
        self._seq = 0
        self.now_ms = START_MS
        self.count: Counter[str] = Counter()
        self.bodies: dict[RunId, Counter[str]] = {}
        """How often the body of each step ran."""
        self.programs = programs or tuple(
            generate(self._random, number) for number in range(self._random.randint(1, 5))
        )
        self.lease_ms = 2_000
        choose = self._random.choice
        self.config = EngineConfig(
            lease_ms=self.lease_ms,
            reconnect_grace_ms=choose((100, 500, 3_000)),
            retry_interval_ms=choose((None, 0, 1_000)),
            queue_window=choose((1, 2, 5, 1_000)),
            timer_window=choose((1, 2, 5, 1_000)),
            steps_max=choose((4, 1_000, 1_000, 1_000)),
        )
        self.functions = frozenset((APP, name) for name in self._function_names())
        self.server = Server(self, self.config)
        self.workers = [
            Worker(self, f"w{number}", limit=choose((None, 1, 2, 5)))
            for number in range(self._random.randint(1, 3))
        ]
        self.sent: dict[tuple[str, str], int] = {}
        """How often an event was sent, by name and producer's id (or its place)."""
        self._unanswered = 0

    # --- running ---

    def run(self) -> None:
        """Let everything happen until nothing is left to happen."""
        self.server.start()
        self._synced()
        for worker in self.workers:
            self.later(self.soon_ms(2_000), f"{worker.name} starts", worker.connect)
        for number in range(self._random.randint(1, 8)):
            self._send_later(number)
        while self._agenda:
            self._next()
            assert self.now_ms < END_MS, "a run does not end"
        assert self._unanswered == 0, "11: every producer was answered"

    def later(self, delay_ms: int, label: str, act: Callable[[], None]) -> None:
        """Put something on the agenda."""
        self._seq += 1
        heappush(self._agenda, (self.now_ms + max(delay_ms, 0), self._seq, label, act))

    def _next(self) -> None:
        self.now_ms, _seq, label, act = heappop(self._agenda)
        self.log(label)
        act()

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

    def disk_ms(self) -> int:
        return self._random.choice((0, 0, 1, 3, 40))

    def body_ms(self) -> int:
        """How long a call takes."""
        return self._random.choice((0, 1, 5, 50, 400, 3 * self.lease_ms))

    def part_of(self, count: int) -> int:
        return self._random.randint(0, count)

    def call_fate(self) -> str:
        """What befalls a call that has reached its worker."""
        return self._fault(CALL_FATES, 0.25) or "goes well"

    def commit_fault(self) -> str | None:
        """What befalls a commit."""
        if self._crash_at is not None:
            at, fault = self._crash_at
            return fault if self.server.commits - 1 == at and self._used(fault) else None
        return self._fault(COMMIT_FAULTS, 0.08)

    def _used(self, fault: str) -> bool:
        self._crash_at = None
        self.count[fault] += 1
        return True

    def _fault(self, kinds: tuple[str, ...], probability: float) -> str | None:
        if self._faults_left <= 0 or not self.chance(probability):
            return None
        self._faults_left -= 1
        kind = self._random.choice(kinds)
        self.count[kind] += 1
        return kind

    def crash(self, how: str) -> None:
        """The server's process dies and is started again."""
        self.log(f"  {how}")
        self.server.crash()
        for worker in self.workers:
            worker.server_crashed()
        self.later(self.soon_ms(1_000), "server starts", self.server.start)

    # --- what peers know ---

    def program(self, function_no: int) -> Program:
        """The program of a function."""
        entry = self.server.partition.catalog.by_no(function_no)
        assert entry is not None, "a call is of a known function"
        if entry.slug.endswith(HANDLER_SLUG_END):
            return HANDLER
        return self.programs[int(entry.slug.removeprefix(f"{APP}-p"))]

    def memo(self, run_id: RunId) -> dict[str, Any]:
        """The finished steps that a call carries."""
        return {
            step.step_id: memo_value(step.kind, step.data)
            for step in self.server.reader.steps(run_id)
        }

    @staticmethod
    def short(request_id: bytes) -> str:
        return ulid_text(request_id)[-4:]

    # --- functions and events ---

    def _function_names(self) -> list[str]:
        return [
            f"{APP}-{name}"
            for number in range(len(self.programs))
            for name in (f"p{number}", f"p{number}{HANDLER_SLUG_END}")
        ]

    def _synced(self) -> None:
        functions: list[dict[str, Any]] = []
        for number, program in enumerate(self.programs):
            of_run = [{"event": f"sim/p{number}"}]
            expression = f"event.data.function_id == '{APP}-p{number}'"
            of_failure = [{"event": "inngest/function.failed", "expression": expression}]
            functions += (
                function_config(APP, f"p{number}", retries=program.retries, triggers=of_run),
                function_config(
                    APP, f"p{number}{HANDLER_SLUG_END}", retries=0, triggers=of_failure
                ),
            )
        body = {"appName": APP, "url": "ws://connect", "functions": functions}
        registration = parse_register(json.dumps(body).encode())
        faults_left, self._faults_left = self._faults_left, 0
        self.server.register(
            lambda ticket: AppSynced(ticket=ticket, registration=registration, sync_id="s"),
            lambda _answer: None,
        )
        while self._agenda:
            self._next()
        self._faults_left = faults_left

    def _send_later(self, number: int) -> None:
        """A producer sends a few events at some time, again until it is answered."""
        events: list[dict[str, Any]] = []
        for place in range(self._random.randint(1, 4)):
            name = f"sim/p{self._random.randrange(len(self.programs))}"
            event: dict[str, Any] = {"name": name, "data": {"number": number}}
            if self.chance(0.3):
                event["id"] = f"order {self._random.randint(1, 3)}"
            events.append(event)
            key = (name, event.get("id", f"{number}/{place}"))
            self.sent[key] = self.sent.get(key, 0) + 1
        parsed = parse_events(json.dumps(events).encode(), event_bytes_max=2**20)
        seed = EventSeed(ms=START_MS, entropy=number.to_bytes(6, "big") + b"\0\0\0\0")
        ids = [EventId(seeded_event_id(seed, n)) for n in range(1, len(parsed) + 1)]
        self._unanswered += 1
        answered = False

        def answer(stored: bool | None) -> None:
            nonlocal answered
            if stored is None:
                self.later(200, f"producer {number} sends again", send)
            elif not answered:
                answered = True
                self._unanswered -= 1

        def send() -> None:
            self.server.receive_events(parsed, ids, answer)

        self.later(self.soon_ms(5_000), f"producer {number} sends", send)
        if self.chance(0.2):
            # It did not hear the answer.
            self.later(6_000 + self.soon_ms(3_000), f"producer {number} repeats", send)
