"""Producers and readers of a simulation: they send events with our SDK, and look what became of
them over the API."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp

from stepwell.sending import post_events
from tests.process_sim.invariants import check_result
from tests.process_sim.server import API_URL

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from tests.process_sim.conductor import Conductor
    from tests.process_sim.programs import Program

ATTEMPTS_MAX = 10_000
"""A producer does not give up: then nobody would know what became of its events."""

READ_TIMEOUT_S = 20.0
POLL_FIRST_S = 1.0
POLL_MAX_S = 120.0
OVER = ("Completed", "Failed", "Cancelled", "Skipped")


class Sending:
    """Events that are sent together, and their runs.

    Attributes:
        begins_s: When they are sent first.
        acked_s: When they were acknowledged; None before.
        runs: The ended runs, by id.
        waits_for: How many of its runs have not been seen at their end.
    """

    def __init__(self, programs: tuple[Program, ...], begins_s: float) -> None:
        self.programs = programs
        self.begins_s = begins_s
        self.acked_s: float | None = None
        self.runs: dict[str, dict[str, Any]] = {}

    @property
    def waits_for(self) -> int:
        return len(self.programs) - len(self.runs)


class SimClient:
    """One process with all producers and readers; it never dies."""

    def __init__(
        self, conductor: Conductor, count: Counter[str], losses: Callable[[str], int]
    ) -> None:
        self.sendings: list[Sending] = []
        self._conductor = conductor
        self._count = count
        self._losses = losses
        self._process = conductor.process("client")
        self._loop = self._process.thread("main")
        self._session: aiohttp.ClientSession | None = None
        self._stop: asyncio.Event | None = None
        self._process.start(self._loop, self._open())

    @property
    def troubles(self) -> list[str]:
        """What went wrong here: the invariants that clients check are among it."""
        return self._process.troubles

    def send(self, programs: tuple[Program, ...], after_s: float) -> None:
        """Send an event for each program; see all runs to their ends."""
        sending = Sending(programs, self._loop.time() + after_s)
        self.sendings.append(sending)
        self._process.start(self._loop, self._send(sending, after_s))

    def ask(self, path: str) -> asyncio.Task[Any]:
        """Read something of the API."""
        return self._loop.create_task(self._get(path))

    def stop(self) -> None:
        assert self._stop is not None, "it runs"
        self._loop.call_soon(self._stop.set)

    async def _open(self) -> None:
        self._stop = asyncio.Event()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(READ_TIMEOUT_S)) as session:
            self._session = session
            await self._stop.wait()
        self._conductor.end(self._process)

    async def _send(self, sending: Sending, after_s: float) -> None:
        await asyncio.sleep(after_s)
        assert self._session is not None, "the session is opened first"
        events = [{"name": f"sim/{program.name}", "data": {}} for program in sending.programs]
        ids = await post_events(
            self._session,
            base_url=API_URL,
            event_key="key",
            env=None,
            body=json.dumps(events).encode(),
            attempts=ATTEMPTS_MAX,
        )
        sending.acked_s = self._loop.time()
        async with asyncio.TaskGroup() as tasks:
            for program, event_id in zip(sending.programs, ids, strict=True):
                tasks.create_task(self._follow(sending, program, event_id))

    async def _follow(self, sending: Sending, program: Program, event_id: str) -> None:
        """3, 4 and 5 for one event."""
        event = await self._get(f"/v1/events/{event_id}")
        assert event["data"]["name"] == f"sim/{program.name}", "3: an acknowledged event is there"
        pause_s = POLL_FIRST_S
        seen: str | None = None
        while True:
            answer = await self._get(f"/v1/events/{event_id}/runs")
            runs = answer["data"]
            assert len(runs) == 1, f"3: an event starts one run, not {len(runs)}"
            run = runs[0]
            assert seen in (None, run["run_id"]), "3: it is the same run every time"
            seen = run["run_id"]
            if run["status"] in OVER:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_MAX_S)
        self._count[check_result(program, run, self._losses(run["run_id"]))] += 1
        sending.runs[run["run_id"]] = run

    async def _get(self, path: str) -> Any:
        """Ask until there is an answer."""
        assert self._session is not None, "the session is opened first"
        while True:
            try:
                async with self._session.get(API_URL + path) as response:
                    body = await response.read()
                    if response.status < 500:
                        assert response.status == 200, f"3: {path}: {response.status} {body!r}"
                        return json.loads(body)
            except (aiohttp.ClientError, TimeoutError):
                self._count["read without an answer"] += 1
            await asyncio.sleep(1.0)
