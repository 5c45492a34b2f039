"""Every example that is served over HTTP: a server, the example as a process, and a run of it."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.cli.api import Api
from stepwell.cli.target import resolve
from tests.docs.test_examples import EXAMPLES, WAIT_S, wait_for_runs
from tests.server_process import clean_environ, die_with_the_tests, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.server_process import ServerProcess

KEY = "signkey-test-0123456789abcdef0123456789abcdef"
EVENT_KEY = "event-key-of-the-tests"


class Story(msgspec.Struct, frozen=True):
    """An event for an example, and the output of the run that it starts."""

    name: str
    event: str
    data: dict[str, Any]
    output: str


STORIES = [
    Story("serve_fast_api", "user.created", {"user_id": 7}, "welcome, user-7@example.com"),
    Story("serve_flask", "report.requested", {"month": "2026-08"}, "31 lines for 2026-08"),
    Story("serve_django", "invoice.due", {"invoice_id": 3}, "invoice 3 is paid"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert isinstance(port, int)
    return port


@contextmanager
def program(script: str, log: Path, **environ: str) -> Iterator[None]:
    """The example as a process."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / script)],
            env=clean_environ(**environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_the_tests,
        )
    try:
        yield
    except BaseException:
        print(log.read_text())
        raise
    finally:
        process.terminate()
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def app_is_synced(api: Api) -> bool:
    apps = api.get("/v2/apps")["data"]
    return any(app["latestSync"]["status"] == "success" for app in apps)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("mode", ["dev", "start"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_example(
    story: Story, mode: str, start_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/inngest"
    keys = ["--signing-key", KEY, "--event-key", EVENT_KEY] if mode == "start" else []
    server = start_server("-u", url, "--poll-interval", "1", *keys, mode=mode)
    environ = {"STEPWELL_DEV": server.api_url}
    target = resolve(url=server.api_url, environ={}, cwd=tmp_path)
    if mode == "start":
        environ = {
            "STEPWELL_BASE_URL": server.api_url,
            "STEPWELL_SIGNING_KEY": KEY,
            "STEPWELL_EVENT_KEY": EVENT_KEY,
        }
        target = resolve(url=None, environ=environ, cwd=tmp_path)
    with (
        Api(target) as api,
        program(f"{story.name}.py", tmp_path / "program.log", PORT=str(port), **environ),
    ):
        poll(lambda: app_is_synced(api), "the app to be synced", timeout_s=WAIT_S)
        api.send([{"name": story.event, "data": story.data}])
        (run,) = wait_for_runs(api, 1)
    assert (run["status"], run["output"]) == ("COMPLETED", {"data": story.output})
