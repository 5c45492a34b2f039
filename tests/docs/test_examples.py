"""Every example runs: a server and the example as processes, an event, and the run it started."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.cli.api import Api
from stepwell.cli.target import resolve
from tests.docs.markdown import ROOT
from tests.server_process import clean_environ, poll
from tests.unit.event_server import EventServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.server_process import ServerProcess

EXAMPLES = ROOT / "examples"
OFFICIAL_PYTHON = ROOT / ".cache" / "official-py" / "bin" / "python"
WAIT_S = 30.0
OVER = ("COMPLETED", "FAILED", "CANCELLED")


class Meanwhile(msgspec.Struct, frozen=True):
    """An event that comes when a run waits for this: `event`, `signal` or `sleep`."""

    waiting: str
    event: str
    data: dict[str, Any]


class Story(msgspec.Struct, frozen=True):
    """An event for an example, and what must come of it: (function, status, output) of runs."""

    name: str
    event: str
    data: dict[str, Any]
    runs: list[tuple[str, str, Any]]
    then: Meanwhile | None = None


STORIES = [
    Story("hello", "user.created", {"user_id": 7},
          [("welcome", "COMPLETED", "sent to user-7@example.com")]),
    Story("sync_worker", "report.requested", {"month": "2026-08"},
          [("monthly-report", "COMPLETED",
            {"title": "Report for 2026-08", "footer": "31 lines"})]),
    Story("two_apps", "invoice.due", {"invoice_id": 3},
          [("charge", "COMPLETED", 3), ("confirm", "COMPLETED", "invoice 3 is paid")]),
    Story("order", "order.placed", {"order_id": 1, "items": ["tea", "pot"]},
          [("place-order", "COMPLETED",
            {"reserved": ["tea reserved", "pot reserved"], "payment": "payment-1"})]),
    Story("order", "order.placed", {"order_id": 2, "items": []},
          [("place-order", "FAILED", None),
           ("place-order-failure", "COMPLETED", "order 2 needs a human")]),
    Story("approval", "order.placed", {"order_id": 1},
          [("approve-order", "COMPLETED", "approved by ann")],
          Meanwhile("event", "order.approved", {"order_id": 1, "by": "ann"})),
    Story("approval", "label.wanted", {"label_id": 7},
          [("print-label", "COMPLETED", "2 pages"), ("tell-printed", "COMPLETED", True)],
          Meanwhile("signal", "label.printed", {"label_id": 7, "pages": 2})),
    Story("approval", "offer.wanted", {"item": "tea"},
          [("get-offer", "COMPLETED", "mailed: tea for 250 cents")]),
    Story("checkout", "basket.ready", {"items": ["tea", "pot"]},
          [("checkout", "COMPLETED", "tea and pot for 500 cents"),
           ("price", "COMPLETED", {"cents": 500}), ("pack", "COMPLETED", "tea and pot"),
           ("survey", "COMPLETED", "asked about 2 items")]),
    Story("reminder", "invoice.sent", {"invoice_id": 1}, [("remind", "CANCELLED", None)],
          Meanwhile("sleep", "invoice.paid", {"invoice_id": 1})),
    Story("checkpointed", "album.uploaded", {"album_id": 5, "photos": ["sea", "hill", "town"]},
          [("make-album", "COMPLETED",
            {"photos": ["sea small", "hill small", "town small"], "receipt": "receipt-5"})]),
    Story("schedule", "report.wanted", {"day": "2026-08-20"},
          [("daily-report", "COMPLETED", "report for 2026-08-20")]),
]  # fmt: skip


@contextmanager
def worker(
    script: str, server: ServerProcess, log: Path, python: str = sys.executable, **environ: str
) -> Iterator[None]:
    """The example as a process, stopped at the end as a service manager stops it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, str(EXAMPLES / script)],
            env=clean_environ(**environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert process.returncode == 0, log.read_text()


@pytest.fixture
def api(server: ServerProcess, tmp_path: Path) -> Iterator[Api]:
    with Api(resolve(url=server.api_url, environ={}, cwd=tmp_path)) as api:
        yield api


def wait_for_worker(api: Api) -> None:
    def ready() -> bool:
        workers = api.get("/v2/workers").get("data", [])
        return any(info["status"] == "READY" for info in workers)

    poll(ready, "the worker to connect", timeout_s=WAIT_S)


def wait_for_runs(api: Api, wanted: int) -> list[dict[str, Any]]:
    """The runs, oldest first, once there are as many as wanted and all are over."""
    runs: list[dict[str, Any]] = []

    def over() -> bool:
        runs[:] = api.pages("/v2/runs", [("order", "asc"), ("includeOutput", "true")], limit=100)
        return len(runs) >= wanted and all(run["status"] in OVER for run in runs)

    poll(over, f"{wanted} runs to end", timeout_s=WAIT_S)
    return runs


def wait_for_waiting_run(api: Api, reason: str) -> None:
    def waits() -> bool:
        runs = api.pages("/v2/runs", [("order", "asc")], limit=100)
        return any(run.get("waiting", {}).get("reason") == reason for run in runs)

    poll(waits, f"a run to wait for: {reason}", timeout_s=WAIT_S)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: f"{story.name}-{story.runs[0][0]}")
def test_example(story: Story, server: ServerProcess, api: Api, tmp_path: Path) -> None:
    with worker(f"{story.name}.py", server, tmp_path / "worker.log", STEPWELL_DEV=server.api_url):
        wait_for_worker(api)
        api.send([{"name": story.event, "data": story.data}])
        if story.then is not None:
            wait_for_waiting_run(api, story.then.waiting)
            api.send([{"name": story.then.event, "data": story.then.data}])
        runs = wait_for_runs(api, len(story.runs))
    ended = {run["function"]["slug"]: run for run in runs}
    assert {slug: run["status"] for slug, run in ended.items()} == {
        slug: status for slug, status, _ in story.runs
    }
    for slug, _, output in story.runs:
        if output is not None:
            shown = output if isinstance(output, dict) else {"data": output}
            assert ended[slug]["output"] == shown


@pytest.mark.timeout(60)
def test_sending_twice_under_one_id_starts_one_run(
    server: ServerProcess, api: Api, tmp_path: Path
) -> None:
    with worker("hello.py", server, tmp_path / "worker.log", STEPWELL_DEV=server.api_url):
        wait_for_worker(api)
        sent = subprocess.run(
            [sys.executable, str(EXAMPLES / "send_events.py")],
            env=clean_environ(STEPWELL_DEV=server.api_url),
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=True,
        )
        assert len(set(sent.stdout.split())) == 2
        assert len(wait_for_runs(api, 1)) == 1


@pytest.mark.timeout(60)
def test_asking_a_provider(server: ServerProcess, api: Api, tmp_path: Path) -> None:
    with EventServer(path="/v1/{what:.*}") as provider:
        provider.answers = [
            (200, {"choices": [{"message": {"content": "It is long."}}]}, {}),
            (202, "thanks", {}),
        ]
        with worker(
            "summary.py",
            server,
            tmp_path / "worker.log",
            STEPWELL_DEV=server.api_url,
            OPENAI_API_KEY="sk-test",
            OPENAI_BASE_URL=f"{provider.url}/v1",
            HOOK_URL=f"{provider.url}/v1/hook",
        ):
            wait_for_worker(api)
            api.send([{"name": "text.written", "data": {"text": "A long story."}}])
            (run,) = wait_for_runs(api, 1)
    assert (run["status"], run["output"]) == ("COMPLETED", {"data": "It is long. (3 words)"})
    asked, told = provider.posts
    assert (asked.path, told.path) == ("/v1/chat/completions", "/v1/hook")
    assert asked.headers["Authorization"] == "Bearer sk-test"
    assert asked.body["messages"][1] == {"role": "user", "content": "A long story."}
    assert told.body == {"summary": "It is long."}


@pytest.mark.compat
@pytest.mark.timeout(90)
def test_the_official_sdk(server: ServerProcess, api: Api, tmp_path: Path) -> None:
    assert OFFICIAL_PYTHON.exists(), "`make test` makes the official SDK's environment"
    with worker(
        "official_sdk.py",
        server,
        tmp_path / "worker.log",
        str(OFFICIAL_PYTHON),
        INNGEST_DEV=server.api_url,
    ):
        wait_for_worker(api)
        api.send([{"name": "user.created", "data": {"user_id": 7}}])
        (run,) = wait_for_runs(api, 1)
    assert (run["status"], run["output"]) == ("COMPLETED", {"data": "user 7"})


def test_every_example_has_a_test() -> None:
    served = {"serve_fast_api", "serve_flask", "serve_django"}  # test_serve_examples
    tested = {story.name for story in STORIES} | served | {"send_events", "official_sdk", "summary"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested
