"""The code blocks of the pages that we implement run as they are printed.

Each block is a file of its own in `seed/`, named after its page and section, to the letter. A
fragment gets the first block of its page in front, without that block's last statement. Nothing
else is added, and nothing is changed but what the table below names.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.compat.api import Api, wait_for
from tests.compat.worker import OFFICIAL, OURS, Sdk, Stage, WorkerProcess
from tests.server_process import ServerProcess, poll

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = Path(__file__).with_name("seed")
APP_ID = "my-app"  # what the page calls it


class Substitution(msgspec.Struct, frozen=True):
    """A text that is replaced wherever it is printed; `sdk` is empty if for every SDK."""

    printed: str
    replacement: str
    sdk: str = ""


SUBSTITUTIONS = (
    Substitution("import inngest\n", "import stepwell as inngest\n", "stepwell"),
    Substitution(
        "from inngest.connect import connect\n",
        "from stepwell.connect import connect\n",
        "stepwell",
    ),
    # A misprint: two `asyncio.run` in a row, of which the first never returns.
    Substitution(
        "# Connection 1 with different concurrency limit\nasyncio.run(\n",
        "async def main() -> None:\n    await asyncio.gather(\n",
    ),
    Substitution(
        ").start()\n)\n\n# Connection 2 with different concurrency limit\nasyncio.run(\n",
        ").start(),\n",
    ),
    Substitution(
        "        max_worker_concurrency=20,\n    ).start()\n)\n",
        "        max_worker_concurrency=20,\n    ).start(),\n    )\n\n\nasyncio.run(main())\n",
    ),
)


class Snippet(msgspec.Struct, frozen=True):
    """A block, whether it needs a preamble, and the connections that it makes."""

    name: str
    is_fragment: bool
    connections: list[dict[str, Any]]


SNIPPETS = (
    Snippet("connect_getting_started", False, [{}]),
    Snippet(
        "connect_worker_concurrency",
        True,
        [{"instanceId": "example-worker", "maxWorkerConcurrency": 10}],
    ),
    Snippet(
        "connect_connection_level_concurrency",
        True,
        [
            {"instanceId": "worker-1-conn-1", "maxWorkerConcurrency": 50},
            {"instanceId": "worker-1-conn-2", "maxWorkerConcurrency": 20},
        ],
    ),
)
PREAMBLES = {"connect": ("connect_getting_started", "asyncio.run(\n")}
"""By page: a whole program, and where its last statement begins."""


def program(snippet: Snippet, sdk: Sdk) -> str:
    """The block as a program for this SDK."""
    text = printed(snippet.name)
    if snippet.is_fragment:
        name, last_statement = PREAMBLES[snippet.name.partition("_")[0]]
        preamble, found, _ = printed(name).partition(last_statement)
        assert found, f"{name} has no {last_statement!r}"
        text = preamble + text
    for substitution in SUBSTITUTIONS:
        if substitution.sdk in ("", sdk.name):
            text = text.replace(substitution.printed, substitution.replacement)
    return text


def printed(name: str) -> str:
    """The block as it is on the page."""
    return (SEED / f"{name}.py").read_text()


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(data_dir=tmp_path_factory.mktemp("seed") / "data") as server:
        yield server


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.name)
@pytest.mark.parametrize(
    "sdk",
    [
        pytest.param(OFFICIAL, id="official", marks=pytest.mark.compat),
        pytest.param(OURS, id="ours"),
    ],
)
def test_the_function_of_the_block_runs(
    dev: ServerProcess, snippet: Snippet, sdk: Sdk, tmp_path: Path
) -> None:
    api = Api(lambda: dev.api_url)
    worker = WorkerProcess(
        program(snippet, sdk),
        sdk=Sdk(sdk.name, sdk.python, {}),
        url=dev.api_url,
        app_id=APP_ID,
        stage=Stage(tmp_path),
    )
    with worker:
        connections = wait_for(
            lambda: ready(api, len(snippet.connections)),
            lambda: f"the block to connect:\n{worker.log}",
        )
        event_id = api.send("user.created", {"user_id": "123"})

        assert api.completed(event_id) is None

        poll(lambda: worker.log.count("Function called") == 1, "the print", timeout_s=5)
        assert api.run(api.run_id(event_id))["function"]["slug"] == "handle-signup"
        for seen, wanted in zip(connections, snippet.connections, strict=True):
            assert wanted.items() <= seen.items()


def ready(api: Api, count: int) -> list[dict[str, Any]] | None:
    """The connections of the app, by their instances' names, once there are so many."""
    workers = [
        worker
        for worker in api.workers(status="READY")
        if [app["id"] for app in worker["apps"]] == [APP_ID]
    ]
    workers.sort(key=lambda worker: str(worker["instanceId"]))
    return workers if len(workers) == count else None


def test_every_file_is_a_case_and_every_substitution_is_needed() -> None:
    assert sorted(path.stem for path in SEED.glob("*.py")) == sorted(s.name for s in SNIPPETS)
    text = "".join(printed(snippet.name) for snippet in SNIPPETS)
    for substitution in SUBSTITUTIONS:
        assert substitution.printed in text, substitution
