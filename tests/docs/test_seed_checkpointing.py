"""The blocks of the page about checkpointing: two steps in one call of a function."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from tests.docs import seed_go
from tests.docs.seed_blocks import printed
from tests.docs.seed_sides import GO, TYPESCRIPT_3, TYPESCRIPT_4, Side
from tests.docs.seed_workers import RUN_ENDS_S, connected
from tests.server_process import poll

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.api import Api
    from tests.docs.seed_blocks import Snippet
    from tests.server_process import ServerProcess

EVENT = "app/my.event"
INSTALL = "checkpointing_install.sh"

CASES = [
    pytest.param(side, each, id=f"{side.name}-{each.name}", marks=pytest.mark.compat)
    for side in (TYPESCRIPT_3, TYPESCRIPT_4, GO)
    for each in side.snippets
    if each.name.startswith("checkpointing_")
]


@pytest.mark.parametrize(("side", "snippet"), CASES)
def test_its_steps_run_in_one_call(
    dev: ServerProcess, api: Api, side: Side, snippet: Snippet, tmp_path: Path
) -> None:
    with side.worker(snippet, tmp_path, {"INNGEST_DEV": dev.api_url}) as worker:
        connected(api, worker)
        event_id = api.send(EVENT)

        assert api.completed(event_id, timeout_s=RUN_ENDS_S) == 3

        run_id = api.run_id(event_id)
        assert api.run(run_id)["function"]["slug"] == "my-function"
        assert api.outputs(run_id) == {"one": {"data": 1}, "two": {"data": 2}}
        poll(lambda: "Function called" in worker.log, "the print", timeout_s=5)
        # One after the other, each step would have had a call of its own.
        assert worker.log.count("Function called") == 1


def test_the_package_that_it_installs_is_the_one_that_is_used() -> None:
    go, get, package = shlex.split(printed(INSTALL))
    assert (go, get) == ("go", "get")
    assert f'"{package}"' in printed("checkpointing_function.go")
    module = (seed_go.MODULE / "go.mod").read_text(encoding="utf-8")
    assert any(package.startswith(f"{line.split()[0]}/") for line in module.splitlines() if line
               and line.startswith("\tgithub.com/inngest/inngestgo "))  # fmt: skip
