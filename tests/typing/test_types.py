"""The types that users get, as mypy and pyright see them, both as strict as they can be.

`public_names.py` and `typed_data.py` are programs of users; `assert_type` in them fails the type
check, not the run. They are checked as a user's project would be, without our settings.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAMS = [str(Path(__file__).with_name(name)) for name in ("public_names.py", "typed_data.py")]

MISTAKES = {
    "wrong argument": "await ctx.step.run('a', load, 'one')",
    "missing argument": "await ctx.step.run('a', load)",
    "no duration": "await ctx.step.sleep('a', '1h')",
    "dict for an event": "await ctx.step.send_event('a', {'name': 'e'})",
    "no await": "x: int = ctx.step.run('a', lambda: 1)",
    "nothing done with a step": "ctx.step.sleep('a', 1)",
    "unknown option": "client.create_function(fn_id='f', trigger=trigger, cron='* * * * *')",
    "async context in a sync function": "client.function('f', event='e')(takes_async)",
    "a wait without a time": "await ctx.step.wait_for_event('a', event='e')",
    "no time-out": "(await ctx.step.wait_for_event('a', event=paid, timeout=1)).data.total",
    "data of another type": "paid.create({'total': 1})",
    "field that is not there": "ctx.event.data.sum",
    "schedule for an event": "stepwell.TriggerEvent(stepwell.TriggerCron('* * * * *'))",
    "function by its id": "await ctx.step.invoke('a', function='ship')",
    "result of another type": "y: str = await ctx.step.invoke('a', function=shipped)",
    "unknown mode": "await ctx.group.parallel((), parallel_mode='any')",
    "no adapter": "await ctx.step.ai.infer('a', adapter='openai', body={})",
    "list of a race": "await ctx.group.race([ctx.step.sleep('a', 1)])",
}

PROGRAM = """
from dataclasses import dataclass

import stepwell

client = stepwell.Client(app_id="shop")
trigger = stepwell.TriggerEvent(event="e")

@dataclass
class Order:
    total: int

paid = stepwell.EventType("order/paid", Order)

async def load(order_id: int) -> int:
    return order_id

def takes_async(ctx: stepwell.Context) -> int:
    return 1

@client.function("shipped", event=paid)
async def shipped(ctx: stepwell.Context[Order]) -> int:
    return ctx.event.data.total

async def story(ctx: stepwell.Context[Order]) -> None:
"""


def mypy(*paths: str) -> list[tuple[int, str]]:
    """The lines that mypy complains of, and what it says."""
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--no-error-summary"]
    done = subprocess.run(
        [*command, *paths], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert bool(lines) == bool(done.returncode), done.stdout
    return [(int(re.findall(r":(\d+):", line)[0]), line) for line in lines]


def pyright(*paths: str) -> list[tuple[int, str]]:
    """The same of pyright, which comes with a Node of its own. The files say that it is strict."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(
        [*command, *paths],
        cwd=Path(paths[0]).parent,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["summary"]["filesAnalyzed"] == len(paths)
    return [
        (each["range"]["start"]["line"] + 1, f"{each['file']}: {each['message']}")
        for each in told["generalDiagnostics"]
        if each["severity"] == "error"
    ]


checkers = pytest.mark.parametrize("check", [mypy, pyright], ids=lambda check: str(check.__name__))


@pytest.mark.timeout(100)
@checkers
def test_types_hold(check: Callable[..., list[tuple[int, str]]]) -> None:
    assert check(*PROGRAMS) == []


@pytest.mark.timeout(100)
@checkers
def test_mistakes_are_found(check: Callable[..., list[tuple[int, str]]], tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    lines = "".join(f"    {line}\n" for line in MISTAKES.values())
    program.write_text(f"# pyright: strict{PROGRAM}{lines}", encoding="utf-8")

    found = check(str(program))

    first = PROGRAM.count("\n") + 1
    places = {line for line, _ in found}
    assert [what for at, what in enumerate(MISTAKES, first) if at not in places] == [], found
    assert {line for line in places if line < first} == set(), found
