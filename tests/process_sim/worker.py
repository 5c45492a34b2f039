"""A worker of a simulation: all of our SDK, with a loop for each thread of the process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from stepwell import Client
from stepwell.connect import ConnectionState, connect
from tests.process_sim.programs import async_handler, sync_handler
from tests.process_sim.server import API_URL

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

    from stepwell import Function
    from stepwell.checkpointer import Answer
    from stepwell.checkpointing import CheckpointingOption
    from stepwell.connect.executor import SocketSend
    from stepwell.connect.threads import ThreadPool
    from tests.process_sim.conductor import Conductor, Process
    from tests.process_sim.loop import SimLoop
    from tests.process_sim.programs import Program

APP = "sim"


def functions(
    programs: Sequence[Program], on_body: Callable[[str, str, int], None]
) -> tuple[Client, list[Function[Any]]]:
    """The app: a function for each program, started by an event of its name."""
    client = Client(app_id=APP, api_base_url=API_URL, event_api_base_url=API_URL)
    declared: list[Function[Any]] = []
    for program in programs:
        declare = client.function(
            program.name,
            event=f"sim/{program.name}",
            retries=program.retries,
            checkpointing=cast("CheckpointingOption", program.checkpointing or False),
        )
        if program.is_async:
            declared.append(declare(async_handler(program, on_body)))
        else:
            declared.append(declare(sync_handler(program, on_body)))
    return client, declared


class _FunctionThreads:
    """In the place of the pool for sync functions: one thread, as a loop."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def submit(self, job: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(job)

    def stop(self) -> None:
        """What was submitted is run."""


def _counted(checkpoint: SocketSend, count: Counter[str]) -> SocketSend:
    """The same, with its answers counted."""

    def counted(
        request_id: str, run_id: str, number: int, steps: bytes, done: Callable[[Answer], None]
    ) -> bool:
        def answered(answer: Answer) -> None:
            count[f"checkpoint {answer.value}"] += 1
            done(answer)

        count["checkpoint sent"] += 1
        return checkpoint(request_id, run_id, number, steps, answered)

    return counted


class SimWorker:
    """One process of a worker, from its start to its end.

    Args:
        instance: Its name, which those that come after it share.
    """

    def __init__(
        self,
        conductor: Conductor,
        instance: str,
        life: int,
        programs: Sequence[Program],
        *,
        on_body: Callable[[str, str, int], None],
        limit: int | None,
        count: Counter[str],
    ) -> None:
        self.instance = instance
        self.is_draining = False
        self._conductor = conductor
        self._process: Process = conductor.process(f"{instance}-{life}")
        self._connection = connect(
            [functions(programs, on_body)],
            instance_id=instance,
            shutdown_signals=[],
            max_worker_concurrency=limit,
        )
        program = self._process.thread("program")
        self._protocol = self._process.thread("protocol")
        executor = self._connection._executor
        executor._pool = cast("ThreadPool", _FunctionThreads(self._process.thread("functions")))
        executor._checkpoint = _counted(executor._checkpoint, count)
        self._process.start(program, self._run_program(program))

    @property
    def name(self) -> str:
        """Of the process."""
        return self._process.name

    @property
    def is_up(self) -> bool:
        return self._process.is_alive

    @property
    def running_count(self) -> int:
        """How many calls it has."""
        return self._connection._worker.running_count

    @property
    def is_active(self) -> bool:
        """Whether it takes calls."""
        return self._connection.state is ConnectionState.ACTIVE

    @property
    def connection_id(self) -> str | None:
        """Of its latest connection."""
        return self._connection._worker.connection_id

    def crash(self, *, silently: bool) -> None:
        """The process dies; silently, if its machine does."""
        self._conductor.kill(self._process, silently=silently)

    def drain(self) -> None:
        """As on SIGTERM; twice: as on two of them."""
        self.is_draining = True
        self._connection._worker.request_close()

    def block(self, seconds: float) -> None:
        """The program's code holds up its own loop for so long."""
        self._conductor.block(self._process.loops[0], seconds)

    async def _run_program(self, program: SimLoop) -> None:
        """What `WorkerConnection.start` does, with another loop in the place of its thread."""
        executor = self._connection._executor
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            executor.bind(tasks)
            self._process.start(self._protocol, self._run_protocol(program, ended))
            await ended.wait()
            executor.cancel_all()
        executor.stop()
        self._conductor.end(self._process)

    async def _run_protocol(self, program: SimLoop, ended: asyncio.Event) -> None:
        try:
            await self._connection._worker.run(self._connection._executor)
        finally:
            program.call_soon_threadsafe(ended.set)
