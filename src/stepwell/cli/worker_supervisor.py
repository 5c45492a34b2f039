"""The parent of `stepwell worker --processes N` and `--reload`.

It starts the processes, starts those again that end, with growing pauses, passes signals on, waits
for all of them, and answers health checks for all. With `--reload` a change of code starts a
successor first: the process that runs is told to finish its work when the successor is ready, and
stays when it cannot start.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepwell.cli.worker_child import Child, start_child
from stepwell.cli.worker_process import CANNOT_START
from stepwell.cli.worker_reload import changes, within
from stepwell.config import default_instance_id, health_host_setting, health_port_setting
from stepwell.connect.backoff import Backoff
from stepwell.connect.health import Health
from stepwell.connect.health_server import HealthPort, serving_health
from stepwell.connect.reconnect import ReconnectPolicy
from stepwell.connect.stderr_log import shown_on_stderr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.cli.worker_process import Overrides

RESTARTS = ReconnectPolicy(base=500, cap=30_000, jitter="none")
LOOK_S = 0.5  # How old what is said of the processes' health may be.
SUCCESSOR_WAIT_S = 30.0  # A successor that is not ready then takes over all the same.
FAILED = 1

_log = logging.getLogger("stepwell.worker")


def supervise(
    words: Sequence[str],
    overrides: Overrides,
    *,
    processes: int,
    reload: bool,
    health_port: int | None,
    health_host: str | None,
) -> None:
    """Run the processes until told to stop.

    Args:
        words: Of the command line, as each of them gets it.
    Raises:
        ConfigError: `port_taken`.
        click.exceptions.Exit: A process cannot start, and has said why.
    """
    port = health_port_setting() if health_port is None else health_port
    place = (
        None if port is None else HealthPort(host=health_host or health_host_setting(), port=port)
    )
    supervisor = Supervisor(_words(words, overrides, processes), reload=reload)
    with shown_on_stderr():
        asyncio.run(supervisor.run(place))
    if supervisor.was_refused:
        raise click.exceptions.Exit(FAILED)


def _words(words: Sequence[str], overrides: Overrides, processes: int) -> list[list[str]]:
    """The command line of each process; the first thing that differs is its name."""
    common = list(words)
    if overrides.app_version is not None:
        common += ["--app-version", overrides.app_version]
    if overrides.max_worker_concurrency is not None:
        common += ["--max-worker-concurrency", str(overrides.max_worker_concurrency)]
    if processes == 1:
        named = [] if overrides.instance_id is None else ["--instance-id", overrides.instance_id]
        return [[*common, *named]]
    name = overrides.instance_id or default_instance_id()
    return [[*common, "--instance-id", f"{name}-{number + 1}"] for number in range(processes)]


class _Slot:
    """The place of one process, through all its restarts."""

    def __init__(self, number: int, words: Sequence[str]) -> None:
        self.number = number
        self.words = words
        self.child: Child | None = None
        self.health: Health | None = None
        self.backoff = Backoff(RESTARTS)


class Supervisor:
    """See above.

    Args:
        words: The command line of each process.
    """

    def __init__(self, words: Sequence[Sequence[str]], *, reload: bool) -> None:
        self._slots = [_Slot(number + 1, each) for number, each in enumerate(words)]
        self._reload = reload
        self._signals = 0
        self._children: set[Child] = set()  # all that have not ended, successors and old ones too
        self._stopping = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self.was_refused = False

    async def run(self, health: HealthPort | None) -> None:
        """Until a signal, and the end of all processes."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        async with AsyncExitStack() as stack:
            if health is not None:
                await stack.enter_async_context(serving_health(health, self.health))
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for slot in self._slots:
                    await self._start(slot)
                tasks.create_task(self._look(), name="stepwell-look")
                if self._reload:
                    tasks.create_task(self._replace_on_changes(), name="stepwell-reload")

    def health(self) -> Health:
        """Of all processes: ready if all are, alive if none says that it is not."""
        known = [slot.health for slot in self._slots if slot.health is not None]
        reason, detail, state = self._trouble()
        return Health(
            ready=reason is None,
            live=all(each.live for each in known),
            reason=reason,
            detail=detail,
            state=state,
            instance_id=", ".join(each.instance_id for each in known),
            running=sum(each.running for each in known),
            unacknowledged=sum(each.unacknowledged for each in known),
            unacknowledged_bytes=sum(each.unacknowledged_bytes for each in known),
            blocked_s=max((each.blocked_s for each in known), default=0.0),
        )

    def _trouble(self) -> tuple[str | None, str, str]:
        """Reason, detail and state of the first process that is not ready."""
        if self._stopping.is_set():
            return "closing", "the processes finish their calls and take no new ones", "CLOSING"
        for slot in self._slots:
            its = slot.health
            if its is None:
                return "starting", f"process {slot.number} does not answer yet", "CONNECTING"
            if not its.ready:
                return its.reason, f"process {slot.number}: {its.detail}", its.state
        return None, "", "ACTIVE"

    # --- the life of a process ---

    async def _start(self, slot: _Slot) -> None:
        slot.health = None
        slot.child = await self._spawn(slot)

    async def _spawn(self, slot: _Slot) -> Child:
        child = await start_child(slot.words)
        self._children.add(child)
        _log.info("process %d is pid %d", slot.number, child.pid)
        if self._stopping.is_set():
            child.tell(signal.SIGTERM)
        assert self._tasks is not None, "set by run()"
        self._tasks.create_task(self._look_after(slot, child), name=f"stepwell-{child.pid}")
        return child

    async def _look_after(self, slot: _Slot, child: Child) -> None:
        """Wait for a process's end, and start another one if that was not meant to come."""
        code = await child.ended()
        self._children.discard(child)
        if self._stopping.is_set() or slot.child is not child:
            return
        slot.health = None
        if code == CANNOT_START and not self._reload:
            self.was_refused = True
            self._stop()
            return
        if code == CANNOT_START:
            _log.warning("process %d cannot start; waiting for a change", slot.number)
            return
        slot.backoff.ended(child.held_ms)
        delay_s = slot.backoff.next_delay_ms() / 1000
        _log.warning(
            "process %d (pid %d) ended with %s; starting it again in %g s",
            *(slot.number, child.pid, _ending(code), delay_s),
        )
        if not await within(self._stopping, delay_s) and slot.child is child:
            await self._start(slot)

    async def _look(self) -> None:
        """Ask the processes how they are, again and again."""
        while not await within(self._stopping, LOOK_S):
            for slot in self._slots:
                if (child := slot.child) is not None:
                    its = await child.health()
                    if slot.child is child:
                        slot.health = its

    # --- new code ---

    async def _replace_on_changes(self) -> None:
        async for what in changes(Path.cwd(), self._stopping):
            _log.info("%s changed", what)
            for slot in self._slots:
                if not self._stopping.is_set():
                    await self._replace(slot)

    async def _replace(self, slot: _Slot) -> None:
        """Start a successor, and let the present one finish its work when that one is ready."""
        old = slot.child
        new = await self._spawn(slot)
        if not await self._takes_over(new):
            _log.warning("process %d keeps the code that it has", slot.number)
            return
        slot.child, slot.health = new, None
        if new.has_ended:  # in the meantime; it was nobody's to start again
            await self._start(slot)
        if old is not None:
            old.tell(signal.SIGTERM)

    async def _takes_over(self, new: Child) -> bool:
        try:
            async with asyncio.timeout(SUCCESSOR_WAIT_S):
                while not new.has_ended and not self._stopping.is_set():
                    its = await new.health()
                    if its is not None and its.ready:
                        return True
                    await asyncio.sleep(LOOK_S / 5)
        except TimeoutError:
            return True
        return False

    # --- the end ---

    def _on_signal(self) -> None:
        self._signals += 1
        if self._signals == 1:
            _log.info(
                "stopping: %d processes finish their calls; a second signal ends those",
                len(self._children),
            )
        self._stop()

    def _stop(self) -> None:
        """Pass it on. Whoever says it for the third time means it."""
        self._stopping.set()
        for child in tuple(self._children):
            child.tell(signal.SIGTERM if self._signals < 3 else signal.SIGKILL)


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
