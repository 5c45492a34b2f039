"""What commands may not import, since every start of a program would pay for it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Run a command line to its end, then say on the last line which modules were loaded.
PROBE = """
import sys, json
from stepwell.cli.main import main
code = main(sys.argv[1:])
print()
print(json.dumps(sorted(sys.modules)))
"""


def loaded(words: list[str], cwd: Path) -> set[str]:
    """The modules in a fresh process after this command line."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    names: set[str] = msgspec.json.decode(done.stdout.splitlines()[-1], type=set[str])
    return names


@pytest.mark.parametrize(
    "command",
    ["version", "send a", "list runs", "list workers", "list apps", "list functions",
     "list events", "show run 01", "show event 01", "show worker 01"],
)  # fmt: skip
def test_commands_that_talk_to_a_server_import_neither_server_nor_sdk(
    command: str, tmp_path: Path
) -> None:
    url = [] if command == "version" else ["--url", "http://127.0.0.1:9"]
    names = loaded([*command.split(), *url], tmp_path)
    unwanted = {
        name
        for name in names
        if name.startswith(("stepwell.server", "stepwell.store", "stepwell.engine"))
        or name.split(".")[0] in ("asyncio", "aiohttp", "rich", "uvloop", "starlette", "websockets")
        or name in ("stepwell.client", "stepwell.connect")
    }
    assert unwanted == set()


@pytest.mark.parametrize("command", ["dev", "start"])
def test_the_help_of_the_servers_does_not_import_a_server(command: str, tmp_path: Path) -> None:
    names = loaded([command, "--help"], tmp_path)
    assert "stepwell.server.app" not in names
    assert not {"uvicorn", "starlette", "apsw", "rich"} & names


NOT_AT_START = (
    "aiohttp", "grpc", "h11", "httpx", "hypothesis", "jinja2", "lark", "pydantic", "rich",
    "sqlite3", "starlette.templating", "starlette.testclient", "stepwell.client",
    "stepwell.connect", "stepwell.execution", "unittest", "watchfiles", "websockets.frames",
    "websockets.http11", "websockets.protocol", "wsproto", "yaml",
)  # fmt: skip
"""A start with them would take longer and hold more memory; none of them is needed by then.

`websockets` itself is a list of what it would load; the gateway takes one C function from it.
"""


def test_a_server_does_not_import_what_it_does_not_need_to_start(tmp_path: Path) -> None:
    probe = """
import asyncio, json, sys
from pathlib import Path
import stepwell.cli.serving
from stepwell.server.app import Server
from stepwell.server.settings import Settings

async def start():
    async with Server(Settings(data_dir=Path("data"), port=0, connect_gateway_port=0)):
        pass

asyncio.run(start())
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    names = msgspec.json.decode(done.stdout.splitlines()[-1], type=set[str])
    assert "stepwell.server.app" in names
    assert names & set(NOT_AT_START) == set()
