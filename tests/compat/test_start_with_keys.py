"""`stepwell start`: workers and producers need keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.compat.api import Api
from tests.compat.worker import WorkerProcess, app_source
from tests.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.compat.worker import Sdk, Stage

KEY = "signkey-prod-" + "1a" * 32
FALLBACK = "signkey-prod-" + "2b" * 32
STRANGE = "signkey-prod-" + "3c" * 32
EVENT_KEY = "event-key-1"


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server as for production."""
    keys = ("--signing-key", KEY, "--signing-key-fallback", FALLBACK, "--event-key", EVENT_KEY)
    data_dir = tmp_path_factory.mktemp("production") / "data"
    with ServerProcess(*keys, data_dir=data_dir, mode="start") as server:
        yield server


@pytest.fixture(scope="module")
def signed_api(production: ServerProcess) -> Api:
    """Its API, with the signing key."""
    return Api(lambda: production.api_url, signing_key=KEY, event_key=EVENT_KEY)


def start_worker(
    production: ServerProcess, sdk: Sdk, stage: Stage, app_id: str, **environ: str
) -> WorkerProcess:
    """The app with keys in its environment, as on a real host."""
    return WorkerProcess(
        app_source("keys"),
        sdk=sdk,
        url="",
        app_id=app_id,
        stage=stage,
        environ={
            "INNGEST_DEV": None,
            "INNGEST_BASE_URL": production.api_url,
            "INNGEST_EVENT_KEY": EVENT_KEY,
            **environ,
        },
    )


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"INNGEST_SIGNING_KEY": KEY}, id="key"),
        pytest.param({"INNGEST_SIGNING_KEY": FALLBACK}, id="servers-fallback"),
        pytest.param(
            {"INNGEST_SIGNING_KEY": STRANGE, "INNGEST_SIGNING_KEY_FALLBACK": KEY},
            id="workers-fallback",
        ),
    ],
)
def test_a_known_key_lets_a_worker_in(
    production: ServerProcess,
    signed_api: Api,
    sdk: Sdk,
    stage: Stage,
    app_id: str,
    keys: dict[str, str],
) -> None:
    with start_worker(production, sdk, stage, app_id, **keys) as worker:
        worker.ready(signed_api)

        (sent,) = signed_api.completed(signed_api.send(f"{app_id}/first"))

        assert signed_api.completed(sent) == "signed"
        assert worker.terminate() == 0


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"INNGEST_SIGNING_KEY": STRANGE}, id="strange"),
        pytest.param({"INNGEST_DEV": "{url}"}, id="none"),
    ],
)
def test_a_worker_without_a_known_key_ends_with_a_clear_error(
    production: ServerProcess,
    signed_api: Api,
    sdk: Sdk,
    stage: Stage,
    app_id: str,
    keys: dict[str, str],
) -> None:
    given = {name: value.format(url=production.api_url) for name, value in keys.items()}
    with start_worker(production, sdk, stage, app_id, **given) as worker:
        assert worker.wait() != 0

        last_line = worker.log.strip().splitlines()[-1]
        if sdk.name == "official":
            assert last_line.endswith("unauthorized")
        else:
            assert "401" in last_line
            assert "STEPWELL_SIGNING_KEY" in last_line
        assert signed_api.workers(instanceId=worker.instance_id) == []
    for key in (KEY, FALLBACK, STRANGE):
        assert key not in worker.log


def test_only_a_known_key_may_send_events(signed_api: Api) -> None:
    body = b'{"name":"nobody/listens","data":{}}'

    refused = signed_api.request("POST", "/e/other-key", body)

    assert refused.status == 401
    assert refused.json() == {
        "ids": [],
        "status": 401,
        "code": "event_key_unknown",
        "error": "Event key not found",
    }
    assert signed_api.request("POST", f"/e/{EVENT_KEY}", body, headers={}).status == 200


OPEN = ("/health", "/ready")
CLOSED = (
    ("GET", "/"),
    ("GET", "/runs/01K7T09A4B0000000000000000"),
    ("GET", "/v0/runs/01K7T09A4B0000000000000000/actions"),
    ("GET", "/v0/runs/01K7T09A4B0000000000000000/batch"),
    ("POST", "/v0/connect/start"),
    ("POST", "/v0/connect/flush"),
    ("POST", "/v0/start"),
    ("POST", "/fn/register"),
    ("GET", "/v1/events"),
    ("GET", "/v1/events/01K7T09A4B0000000000000000"),
    ("GET", "/v1/events/01K7T09A4B0000000000000000/runs"),
    ("GET", "/v1/runs/01K7T09A4B0000000000000000"),
    ("GET", "/v2/health"),
    ("GET", "/v2/apps"),
    ("GET", "/v2/runs"),
    ("GET", "/v2/runs/01K7T09A4B0000000000000000/trace"),
    ("GET", "/v2/workers"),
    ("GET", "/api/v2/runs"),
    ("GET", "/nothing/here"),
    ("GET", "/metrics"),
)


def test_what_answers_without_a_credential(production: ServerProcess) -> None:
    api = Api(lambda: production.api_url)

    for path in OPEN:
        assert api.request("GET", path, headers={}).status == 200, path
    preflight = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "POST"}
    assert api.request("OPTIONS", "/e/any", headers=preflight).status == 200
    dev = api.request("GET", "/dev", headers={})
    assert (dev.status, dev.body) == (404, b"404 page not found")  # JSON would mean a dev server


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_what_does_not(production: ServerProcess, method: str, path: str) -> None:
    api = Api(lambda: production.api_url)

    for headers in ({}, {"Authorization": f"Bearer {STRANGE}"}, {"Authorization": KEY}):
        answer = api.request(method, path, b"" if method == "POST" else None, headers)
        assert answer.status == 401, (path, headers, answer.body)
        assert answer.body == b"Authentication failed"
