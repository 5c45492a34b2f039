"""The branches of a group in a call that goes on: tasks, or for a sync function threads.

Branches take turns: the code between steps of one branch never runs while that of another does,
only bodies of steps and waits for the server overlap (and in an async function whatever else is
awaited). So nothing that the branches share needs a lock. Each branch comes to its first step
before the next branch begins: step ids that are used again count in the order of the branches, as
in a call that runs them one after the other.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from stepwell.errors import ConfigError
from stepwell.interrupt import is_interrupt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

T = TypeVar("T")

THREADS_MAX: Final = 64
"""Branches of a sync function beyond these begin when others have ended."""


class Branch(msgspec.Struct, Generic[T]):
    """How one callable of a group ended: with a value, with an error, or not yet."""

    value: T | None = None
    error: Exception | None = None
    interrupted: bool = False
    ended_at: int = -1  # in a race: where its last step stands in the order in which steps ended


INTERRUPTED: Final[Branch[Any]] = Branch(interrupted=True)


class Siblings:
    """The branches of one group, of which each begins when those before it have come to a step."""

    __slots__ = ("_begun", "_gates", "parent")

    def __init__(self) -> None:
        self.parent = _mark.get()
        if self.parent is not None:
            self.parent.came()
            self.parent.steps += 1  # what follows in that branch is not its first step
        self._begun = 0
        self._gates: dict[int, asyncio.Future[None]] = {}

    def enter(self, number: int) -> _Mark:
        """From here on, the present context is that of a branch."""
        mark = _Mark(self, number)
        _mark.set(mark)
        return mark

    def leave(self) -> None:
        """The present context is again that of the code round the group."""
        _mark.set(self.parent)

    async def turn_of(self, number: int) -> None:
        """Wait until a branch may begin."""
        if number > self._begun:
            gate = self._gates[number] = asyncio.get_running_loop().create_future()
            await gate

    def came(self, number: int) -> None:
        """A branch has come to its first step, or to its end: the next one may begin."""
        self._begun = max(self._begun, number + 1)
        gate = self._gates.pop(self._begun, None)
        if gate is not None and not gate.done():  # it is when the call was cancelled
            gate.set_result(None)


class _Mark:
    """One branch that runs beside others."""

    __slots__ = ("number", "siblings", "steps")

    def __init__(self, siblings: Siblings, number: int) -> None:
        self.siblings = siblings
        self.number = number
        self.steps = 0

    def came(self) -> None:
        """The branch has come to its first step."""
        self.siblings.came(self.number)

    def line(self) -> list[_Mark]:
        """The branches in which this one is, from the outermost, and itself."""
        marks: list[_Mark] = []
        mark: _Mark | None = self
        while mark is not None:
            marks.append(mark)
            mark = mark.siblings.parent
        return marks[::-1]


_mark: ContextVar[_Mark | None] = ContextVar("stepwell_branch", default=None)


class _Uses:
    """Of one step id: in which branches it was used, and whether as the first step there."""

    __slots__ = ("firsts_of", "marks")

    def __init__(self, siblings: Siblings) -> None:
        self.firsts_of: Siblings | None = siblings  # all uses are first steps of its branches
        self.marks: list[tuple[_Mark, bool]] = []


class StepIds:
    """Which branches use which step id, from the start of the outermost group to its end.

    An id that branches use side by side is only certain to mean the same step in the next call if
    it is the first step of each of them.
    """

    def __init__(self) -> None:
        self._uses: dict[str, _Uses] = {}

    def used(self, step_id: str) -> None:
        """The present branch has come to a step.

        Raises:
            ConfigError: `step_id_ambiguous`.
        """
        mark = _mark.get()
        if mark is None:
            return
        first = mark.steps == 0
        mark.steps += 1
        if first:
            mark.came()
        uses = self._uses.get(step_id)
        if uses is None:
            uses = self._uses[step_id] = _Uses(mark.siblings)
        if first and uses.firsts_of is mark.siblings:  # so the others need not be looked at
            uses.marks.append((mark, True))
            return
        uses.firsts_of = None
        for other, was_first in uses.marks:
            if not (first and was_first and other.siblings is mark.siblings) and _beside(
                mark, other
            ):
                raise ConfigError(
                    f"step id {step_id!r} is used by several branches of a group, and not as the "
                    "first step of each: which result belongs to which of them would depend on "
                    "timing; give the steps of different branches different ids",
                    code="step_id_ambiguous",
                )
        uses.marks.append((mark, first))


def _beside(mark: _Mark, other: _Mark) -> bool:
    """Whether two branches run at the same time: they part in one group."""
    for one, another in zip(mark.line(), other.line(), strict=False):
        if one is not another:
            return one.siblings is another.siblings
    return False


async def run_branches(callables: Sequence[Callable[[], Awaitable[T]]]) -> list[Branch[T]]:
    """Run the branches of an async function as tasks, and give how they ended, in order."""
    siblings = Siblings()
    fatal: list[BaseException] = []

    async def run(number: int, call: Callable[[], Awaitable[T]]) -> Branch[T]:
        await siblings.turn_of(number)
        mark = siblings.enter(number)
        try:
            return Branch(value=await call())
        except Exception as error:  # raised when all branches have ended
            return Branch(error=error)
        except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a task that lets SystemExit out takes the loop with it
            if not is_interrupt(error):
                fatal.append(error)
            return INTERRUPTED
        finally:
            mark.came()

    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(run(number, call)) for number, call in enumerate(callables)]
    if fatal:
        raise fatal[0]
    return [task.result() for task in made]


class Turns:
    """Who of the threads of a sync function's groups may run the function's own code."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()  # by the thread of the function

    def pause(self) -> _Pause:
        """Let others go on for as long as a `with` block lasts."""
        return _Pause(self._lock)

    def run_branches(self, callables: Sequence[Callable[[], T]]) -> list[Branch[T]]:
        """Run the branches on threads, and give how they ended, in order."""
        if not callables:
            return []
        siblings = Siblings()
        branches: list[Branch[T]] = [INTERRUPTED] * len(callables)
        fatal: list[BaseException] = []
        left = len(callables)
        ended = threading.Event()
        context = copy_context()  # not that of the branch, or even step, that begins the next one

        def run(number: int) -> None:
            nonlocal left
            with self._lock:
                siblings.enter(number)
                begin = _Once(threads.begin_next)
                _on_pause.set(begin)
                try:
                    branches[number] = Branch(value=callables[number]())
                except Exception as error:  # raised when all branches have ended
                    branches[number] = Branch(error=error)
                except BaseException as error:  # SystemExit, which ends the call
                    if not is_interrupt(error):
                        fatal.append(error)
                threads.idle += 1
                begin()
                left -= 1
                if left == 0:
                    threads.stop()
                    ended.set()

        threads = _Threads(len(callables), lambda number: context.copy().run(run, number))
        threads.begin_next()
        with self.pause():
            ended.wait()
        if fatal:
            raise fatal[0]
        return branches


class _Threads:
    """Threads for the branches of one group. Whoever has the turn may call it.

    They are not joined, so that a branch that hangs does not keep the process from ending.
    """

    def __init__(self, count: int, run: Callable[[int], None]) -> None:
        self._count = count
        self._run = run
        self._begun = 0
        self._threads = 0
        self._numbers: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self.idle = 0
        """Those that have nothing to do, or will not have in a moment."""

    def begin_next(self) -> None:
        """Begin with the next branch, if there is one.

        Raises:
            RuntimeError: There is no thread, and the system gives none.
        """
        if self._begun == self._count:
            return
        if self.idle:
            self.idle -= 1
        elif self._threads < THREADS_MAX:
            self._start()
        self._numbers.put(self._begun)
        self._begun += 1

    def stop(self) -> None:
        """All branches have ended."""
        for _ in range(self._threads):
            self._numbers.put(None)

    def _start(self) -> None:
        name = f"stepwell-branch-{self._threads + 1}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError:  # the system has no more threads; those that run take it
            if self._threads == 0:
                raise
            return
        self._threads += 1

    def _work(self) -> None:
        while (number := self._numbers.get()) is not None:
            self._run(number)


class _Once:
    """Does something the first time that it is called."""

    __slots__ = ("_do", "_done")

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self._done = False

    def __call__(self) -> None:
        if not self._done:
            self._done = True
            self._do()


_on_pause: ContextVar[_Once | None] = ContextVar("stepwell_branch_pause", default=None)


class _Pause:
    __slots__ = ("_lock",)

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if (begin := _on_pause.get()) is not None:
            begin()
        self._lock.release()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._lock.acquire()
