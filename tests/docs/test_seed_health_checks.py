"""The health checks of the pages, on Node and Bun, probed as the page's readiness probe says."""

from __future__ import annotations

import http.client
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.compat.api import Api
from tests.compat.lasting_server import LastingServer, free_port
from tests.docs.seed_blocks import printed, replaced
from tests.docs.seed_typescript import BUN, SNIPPETS, command, lay_out, program
from tests.docs.seed_workers import SeedWorker, check_run, connected, need
from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCKS = ("connect_health_checks_node_js", "connect_health_checks_bun")
PROBE = "connect_readiness_probe.yaml"
PORT = "8080"
"""As printed. "Start the server on a port of your choice", says the block: a free one here."""

PROBE_WITHOUT_PORT = "    path: /ready\n"
PROBE_WITH_PORT = f"    path: /ready\n    port: {PORT}\n"
"""A misprint: Kubernetes refuses a probe over HTTP that names no port."""

BACK_S = 30.0  # The SDK tries again after pauses that grow.

pytestmark = [pytest.mark.compat, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LastingServer]:
    """One that goes away and comes back."""
    with LastingServer(data_dir=tmp_path_factory.mktemp("health") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def probe() -> dict[str, Any]:
    """The readiness probe of the page, its misprint mended; Bun reads YAML."""
    need(BUN, "npm")
    text = replaced(printed(PROBE), PROBE_WITHOUT_PORT, PROBE_WITH_PORT)
    read = subprocess.run(
        [BUN, "-e", "console.log(JSON.stringify(Bun.YAML.parse(await Bun.stdin.text())))"],
        input=text.encode(),
        stdout=subprocess.PIPE,
        timeout=15,
        check=True,
    )
    found: dict[str, Any] = msgspec.json.decode(read.stdout)["readinessProbe"]
    return found


def test_the_probe_is_one_that_kubernetes_takes(probe: dict[str, Any]) -> None:
    assert probe == {
        "httpGet": {"path": "/ready", "port": int(PORT)},
        "initialDelaySeconds": 3,
        "periodSeconds": 10,
        "successThreshold": 3,
        "failureThreshold": 3,
    }
    for block in BLOCKS:
        text = printed(f"{block}.ts")
        assert f'"{probe["httpGet"]["path"]}"' in text
        assert f"port {PORT}" in text


@pytest.mark.parametrize("sdk", ["v3", "v4"])
@pytest.mark.parametrize("block", BLOCKS)
def test_the_probe_follows_the_connection(
    server: LastingServer, probe: dict[str, Any], block: str, sdk: str, tmp_path: Path
) -> None:
    api = Api(lambda: server.api_url)
    port = free_port()
    snippet = next(each for each in SNIPPETS if each.name == block)
    source = program(snippet, sdk).replace(PORT, str(port))
    lay_out(tmp_path, {block: source}, sdk)
    environ = {"INNGEST_DEV": server.api_url}
    worker = SeedWorker(command(snippet, tmp_path), tmp_path, environ)
    path = probe["httpGet"]["path"]
    with worker:
        connected(api, worker)
        said = f"HTTP server listening on port {port}"
        poll(lambda: said in worker.log, "the health check's server", timeout_s=15)
        for _ in range(probe["successThreshold"]):
            assert answer(port, path) == 200
        assert answer(port, "/") == 404

        server.kill()
        poll(lambda: answer(port, path) == 500, "the worker to miss the server", timeout_s=15)
        server.start()
        poll(lambda: answer(port, path) == 200, "the worker to be back", timeout_s=BACK_S)
        check_run(api, worker)

        worker.signal(signal.SIGTERM)
        poll(lambda: "Worker: Shut down" in worker.log, "the shutdown", timeout_s=15)
        if sdk == "v4":  # version 3 keeps a timer of the connection that it lost, and so runs on
            assert worker.wait() == 0


def answer(port: int, path: str) -> int:
    """The status that a probe gets."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
