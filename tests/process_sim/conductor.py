"""Gives the loops of all simulated processes their turns, and lets time pass when none has work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.process_sim.loop import SimLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random

    from tests.process_sim.clock import VirtualClock
    from tests.process_sim.network import Network

LAST_TURNS_MAX = 2_000


class Died(SystemExit):
    """Raised inside of a process at the place where it dies; nothing in it goes on."""


class Process:
    """A simulated process: its threads are loops. Made by the conductor.

    Attributes:
        troubles: What asyncio would have logged.
    """

    def __init__(self, conductor: Conductor, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.loops: list[SimLoop] = []
        self.troubles: list[str] = []
        self._conductor = conductor

    def thread(self, name: str) -> SimLoop:
        """A loop for one more thread."""
        return self._conductor.add_loop(self, name)

    def start(self, loop: SimLoop, work: Coroutine[Any, Any, Any]) -> None:
        """Run this on one of the loops."""
        loop.create_task(work).add_done_callback(self._ended)

    def heard(self, context: dict[str, Any]) -> None:
        """Something went wrong that asyncio only tells its exception handler."""
        if self.is_alive:
            self.troubles.append(f"{self.name}: {context['message']}: {context.get('exception')!r}")

    def _ended(self, task: Any) -> None:
        if self.is_alive and not task.cancelled() and task.exception() is not None:
            self.troubles.append(f"{self.name} ended with {task.exception()!r}")


class Conductor:
    """The one real thread, and who has it.

    Args:
        trace: Told of each turn.
    """

    def __init__(
        self,
        clock: VirtualClock,
        network: Network,
        random: Random,
        trace: Callable[[str], None],
    ) -> None:
        self.clock = clock
        self.network = network
        self.turns = 0
        self.thread = 0
        """Whose turn it is: what `threading.get_ident` says."""
        self.troubles: list[str] = []
        self._random = random
        self._trace = trace
        self._loops: list[tuple[SimLoop, Process]] = []
        self._threads = 0
        self._blocked_until_s: dict[SimLoop, float] = {}
        self._dead: list[Process] = []

    def process(self, name: str) -> Process:
        """A process starts."""
        return Process(self, name)

    def add_loop(self, process: Process, name: str) -> SimLoop:
        self._threads += 1
        loop = SimLoop(
            f"{process.name} {name}",
            self._threads,
            clock=self.clock,
            sockets=self.network.sockets,
            on_error=process.heard,
        )
        process.loops.append(loop)
        self._loops.append((loop, process))
        return loop

    def block(self, loop: SimLoop, seconds: float) -> None:
        """A thread does nothing else for so long: its loop has no turn."""
        self._blocked_until_s[loop] = self.clock.now_s + seconds

    def end(self, process: Process) -> None:
        """A process has come to its end; what is not closed is closed by the system."""
        self.kill(process)

    def kill(self, process: Process, *, silently: bool = False) -> None:
        """A process dies, wherever it is; silently, if nobody tells its peers."""
        if not process.is_alive:
            return
        self.troubles += process.troubles
        process.is_alive = False
        self._loops = [pair for pair in self._loops if pair[1] is not process]
        self._dead.append(process)
        self.network.died(process.name, silently=silently)

    def run_until(self, done: Callable[[], bool], *, until_s: float) -> bool:
        """Go on until something is true, or it is so late; whether it is true."""
        while not done():
            if not self._step(until_s):
                return done()
        return True

    def bury(self) -> None:
        """Let the tasks and sockets of dead processes end, so that nothing is left to be collected.

        Their sockets are closed, so nobody hears of it.
        """
        for _loop, process in list(self._loops):
            self.kill(process)
        for process in self._dead:
            for loop in process.loops:
                for _ in range(LAST_TURNS_MAX):
                    if not loop.let_go():
                        break
                    self._last_turn(loop)
                else:
                    raise AssertionError(f"{loop.name} does not end")
                loop.close()

    def _last_turn(self, loop: SimLoop) -> None:
        if not loop.has_work:
            self.clock.jump_to(loop.next_timer_s() or 0.0)
        try:
            loop.turn()
        except SystemExit:
            return

    def _step(self, until_s: float) -> bool:
        """One turn of one loop, or a jump; false when it is late, or nothing will ever happen."""
        clock, network = self.clock, self.network
        network.act()
        loops = self._loops
        if self._blocked_until_s:
            loops = self._free_loops()
        ready = [pair for pair in loops if pair[0].has_work]
        if not ready:
            due = [loop.next_timer_s() for loop, _ in loops]
            due.append(network.next_due_s())
            due.extend(self._blocked_until_s.values())
            next_s = min((due_s for due_s in due if due_s is not None), default=until_s)
            clock.jump_to(min(next_s, until_s))
            return clock.now_s < until_s
        loop, process = ready[0] if len(ready) == 1 else self._random.choice(ready)
        self.turns += 1
        self._trace(f"turn of {loop.name}")
        network.host, self.thread = process.name, loop.number
        try:
            loop.turn()
        except Died:
            self.kill(process)
        finally:
            network.host, self.thread = "", 0
        return True

    def _free_loops(self) -> list[tuple[SimLoop, Process]]:
        now_s = self.clock.now_s
        blocked = {
            loop: until_s for loop, until_s in self._blocked_until_s.items() if until_s > now_s
        }
        self._blocked_until_s = blocked
        return [pair for pair in self._loops if pair[0] not in blocked]
