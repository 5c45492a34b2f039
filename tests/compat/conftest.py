"""One development server for the whole suite, and one worker for each scenario and SDK."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.compat.api import Api
from tests.compat.worker import OFFICIAL, OURS, Stage, WorkerProcess, app_source
from tests.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.compat.worker import Sdk

RETRY_INTERVAL_S = "0.3"


@pytest.fixture(
    scope="module",
    params=[pytest.param(OFFICIAL, id="official", marks=pytest.mark.compat), OURS],
    ids=lambda sdk: sdk.name,
)
def sdk(request: pytest.FixtureRequest) -> Sdk:
    """The SDK of the worker."""
    found: Sdk = request.param
    return found


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A development server on SQLite. Every scenario has an app of its own there."""
    data_dir = tmp_path_factory.mktemp("dev") / "data"
    with ServerProcess("--retry-interval", RETRY_INTERVAL_S, data_dir=data_dir) as server:
        yield server


@pytest.fixture(scope="session")
def api(dev: ServerProcess) -> Api:
    """The API of `dev`."""
    return Api(lambda: dev.api_url)


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest, sdk: Sdk, tmp_path_factory: pytest.TempPathFactory
) -> Stage:
    """The directory that the scenario shares with its app."""
    name = request.module.__name__.rpartition(".")[2]
    return Stage(tmp_path_factory.mktemp(f"{name}-{sdk.name}"))


@pytest.fixture(scope="module")
def app_id(request: pytest.FixtureRequest, sdk: Sdk) -> str:
    """The scenario's app: its events begin with this."""
    scenario = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    return f"{scenario.replace('_', '-')}-{sdk.name}"


@pytest.fixture(scope="module")
def start_worker(
    dev: ServerProcess, api: Api, sdk: Sdk, stage: Stage, app_id: str
) -> Iterator[Callable[..., WorkerProcess]]:
    """Start `apps/<name>.py` against `dev` and wait until it is ready; ended after the module."""
    with contextlib.ExitStack() as running:

        def start(app: str) -> WorkerProcess:
            worker = WorkerProcess(
                app_source(app), sdk=sdk, url=dev.api_url, app_id=app_id, stage=stage
            )
            running.enter_context(worker)
            worker.ready(api)
            return worker

        yield start


@pytest.fixture(scope="module")
def worker(
    request: pytest.FixtureRequest, start_worker: Callable[[str], WorkerProcess]
) -> WorkerProcess:
    """The scenario's worker: it runs the app that is named like the module."""
    return start_worker(request.module.__name__.rpartition(".")[2].removeprefix("test_"))
