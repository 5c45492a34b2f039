"""What the pages say of production and of hosting: keys, the gateway's address, ports."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stepwell.server.setting_sources import resolve
from tests.compat.api import Api
from tests.compat.languages import ROOT
from tests.compat.lasting_server import free_port
from tests.docs.seed_blocks import replaced
from tests.docs.seed_sides import SIDES, TYPESCRIPT_3, Side, params, snippet
from tests.docs.seed_typescript import command, lay_out, program
from tests.docs.seed_workers import SeedWorker, check, connected
from tests.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIGNING_KEY = "signkey-prod-" + "1a" * 32
EVENT_KEY = "event-key-1"
KEYS = ("--signing-key", SIGNING_KEY, "--event-key", EVENT_KEY)
CLUSTER = "'my-cluster-host:8289'"
"""The block's own place for a host of the reader's."""


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server as for production."""
    with ServerProcess(
        *KEYS,
        data_dir=tmp_path_factory.mktemp("production") / "data",
        mode="start",
    ) as server:
        yield server


def environ_of(server: ServerProcess) -> dict[str, str]:
    """What the pages have users set in production, and where the server is."""
    return {
        "INNGEST_BASE_URL": server.api_url,
        "INNGEST_SIGNING_KEY": SIGNING_KEY,
        "INNGEST_EVENT_KEY": EVENT_KEY,
    }


def api_of(server: ServerProcess) -> Api:
    return Api(lambda: server.api_url, signing_key=SIGNING_KEY, event_key=EVENT_KEY)


@pytest.mark.parametrize("side", params(*SIDES))
def test_the_first_block_runs_with_keys(
    production: ServerProcess, side: Side, tmp_path: Path
) -> None:
    block = snippet(side, "getting_started")
    with side.worker(block, tmp_path, environ_of(production)) as worker:
        check(api_of(production), worker, block)


@pytest.mark.compat
def test_the_gateway_is_where_the_block_says(tmp_path: Path) -> None:
    block, sdk = snippet(TYPESCRIPT_3, "self_hosted"), TYPESCRIPT_3.version
    port, nobody = free_port(), free_port()
    with ServerProcess(
        *KEYS,
        *("--connect-gateway-port", str(port)),
        *("--connect-public-url", f"ws://127.0.0.1:{nobody}/v0/connect"),
        data_dir=tmp_path / "data",
        mode="start",
    ) as server:
        source = replaced(program(block, sdk), CLUSTER, f"'127.0.0.1:{port}'")
        scratch = tmp_path / "worker"
        scratch.mkdir()
        lay_out(scratch, {block.name: source}, sdk)
        worker = SeedWorker(command(block, scratch), scratch, environ_of(server))
        with worker:
            check(api_of(server), worker, block)


@pytest.mark.compat
def test_in_development_the_block_leaves_the_gateway(
    dev: ServerProcess, api: Api, tmp_path: Path
) -> None:
    block = snippet(TYPESCRIPT_3, "self_hosted")
    with TYPESCRIPT_3.worker(block, tmp_path, {"INNGEST_DEV": dev.api_url}) as worker:
        connected(api, worker)


@pytest.mark.parametrize("side", params(*SIDES))
def test_inngest_dev_is_the_server_at_its_usual_ports(side: Side, tmp_path: Path) -> None:
    side.need()
    alone = ["unshare", "--map-root-user", "--net"]
    if shutil.which(alone[0]) is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("a network of one's own is not to be had here")
    ran = subprocess.run(
        [*alone, sys.executable, "-m", "tests.docs.seed_alone", str(tmp_path), side.name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_these_are_the_usual_ports(tmp_path: Path) -> None:
    settings = resolve("dev", {}, environ={}, cwd=tmp_path)
    assert (settings.port, settings.connect_gateway_port) == (8288, 8289)
