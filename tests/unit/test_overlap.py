"""What the program does between two steps, while the first one is on its way to the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from stepwell.checkpointer import Answer, Checkpointer
from stepwell.checkpointing import SAFE
from stepwell.execution import Execution, run_async
from stepwell.group import Group
from stepwell.step import Step
from tests.unit.calls import result_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Server:
    """Answers reports when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Callable[[Answer], None]] = []
        self.came = asyncio.Event()

    def send(self, _number: int, _steps: bytes, done: Callable[[Answer], None]) -> None:
        self.asked.append(done)
        self.came.set()

    async def answer(self, answer: Answer = Answer.STORED) -> None:
        await self.came.wait()
        self.came.clear()
        self.asked.pop(0)(answer)


class Ctx:
    def __init__(self, execution: Execution) -> None:
        self.step = Step(execution, None)  # type: ignore[arg-type]  # no step here sends anything
        self.group = Group(execution)


async def call(server: Server, handler: Callable[[Any], Awaitable[Any]]) -> Any:
    execution = Execution(steps={}, checkpointer=Checkpointer(SAFE, send=server.send))
    return await run_async(execution, handler, Ctx(execution))


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_code_between_steps_runs_while_the_first_is_on_its_way() -> None:
    done: list[str] = []

    async def handler(ctx: Any) -> str:
        await ctx.step.run("a", done.append, "a")
        done.append("between")
        await ctx.step.run("b", done.append, "b")
        return "end"

    async def story() -> None:
        server = Server()
        running = asyncio.create_task(call(server, handler))
        await settled()
        assert done == ["a", "between"], "the next body waits for the server"
        await server.answer()
        await settled()
        assert done == ["a", "between", "b"]
        assert not running.done(), "so does the end"
        await server.answer()
        assert result_of(await running) == "end"

    asyncio.run(story())


def test_a_durable_step_is_waited_for_at_once() -> None:
    done: list[str] = []

    async def handler(ctx: Any) -> None:
        await ctx.step.run("a", done.append, "a", durable=True)
        done.append("between")

    async def story() -> None:
        server = Server()
        running = asyncio.create_task(call(server, handler))
        await settled()
        assert done == ["a"]
        await server.answer()
        await running
        assert done == ["a", "between"]

    asyncio.run(story())


def test_a_refused_step_ends_the_call_before_the_next_body() -> None:
    done: list[str] = []

    async def handler(ctx: Any) -> None:
        await ctx.step.run("a", done.append, "a")
        await ctx.step.run("b", done.append, "b")

    async def story() -> None:
        server = Server()
        running = asyncio.create_task(call(server, handler))
        await server.answer(Answer.STALE)
        outcome = await running
        assert (outcome.kind, outcome.no_retry) == ("error", True)
        assert done == ["a"]

    asyncio.run(story())


def test_sibling_tasks_run_one_body_at_a_time_all_the_same() -> None:
    at_work: list[str] = []
    most: list[int] = []

    async def body(name: str) -> None:
        at_work.append(name)
        most.append(len(at_work))
        await asyncio.sleep(0)
        at_work.remove(name)

    async def handler(ctx: Any) -> None:
        await ctx.step.run("first", body, "first")
        await asyncio.gather(*(ctx.step.run(name, body, name) for name in "abc"))

    async def story() -> None:
        server = Server()
        running = asyncio.create_task(call(server, handler))
        while not running.done():
            await asyncio.wait(
                {running, asyncio.ensure_future(server.came.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not running.done():
                await server.answer()
        assert (await running).kind == "result"
        assert most == [1, 1, 1, 1]

    asyncio.run(story())


def test_branches_of_a_group_wait_for_what_came_before_it() -> None:
    done: list[str] = []

    async def handler(ctx: Any) -> None:
        await ctx.step.run("a", done.append, "a")
        await ctx.group.parallel(
            [lambda name=name: ctx.step.run(name, done.append, name) for name in "bc"]
        )

    async def story() -> None:
        server = Server()
        running = asyncio.create_task(call(server, handler))
        await settled()
        assert done == ["a"]
        await server.answer()
        await settled()
        assert done == ["a", "b", "c"]
        await server.answer()
        await running

    asyncio.run(story())
