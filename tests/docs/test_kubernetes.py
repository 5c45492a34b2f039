"""The manifest for workers asks for what a worker has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from stepwell.cli.root import root
from stepwell.config import default_instance_id, resolve
from stepwell.connect import ConnectionState
from stepwell.connect.health import Vitals, answer_health, health_of
from tests.docs.markdown import ROOT

if TYPE_CHECKING:
    from stepwell.connect import Health

MANIFEST = ROOT / "deploy" / "kubernetes" / "worker.yaml"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    """The pod that the deployment makes."""
    manifest = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    spec = manifest["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    found: dict[str, Any] = spec["template"]["spec"]
    return found


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    [found] = pod["containers"]
    assert isinstance(found, dict)
    return found


def options(container: dict[str, Any]) -> dict[str, Any]:
    """What `stepwell worker` makes of the container's command line."""
    words: list[str] = [*container["command"], *container["args"]]
    program, verb = words[:2]
    assert program == "stepwell"
    command = root.get_command(click.Context(root), verb)
    assert command is not None
    return command.make_context(verb, words[2:]).params


def health(state: ConnectionState, blocked_ms: int = 0) -> Health:
    vitals = Vitals(
        running_count=0, waiting_count=0, waiting_bytes=0, saturation=None, blocked_ms=blocked_ms
    )
    return health_of(state, vitals, instance_id="pod", blocked_limit_ms=600_000)


@pytest.mark.parametrize("probe", PROBES)
def test_probes_ask_where_the_worker_answers(container: dict[str, Any], probe: str) -> None:
    asked = container[probe]["httpGet"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    given = options(container)

    assert ports[asked["port"]] == given["health_port"]
    assert given["health_host"] == "0.0.0.0"  # a probe does not come from inside of the pod
    answer = answer_health(lambda: health(ConnectionState.ACTIVE), method="GET", path=asked["path"])
    assert answer.status == 200


@pytest.mark.parametrize(
    ("probe", "status"), [("startupProbe", 200), ("readinessProbe", 503), ("livenessProbe", 200)]
)
def test_server_that_is_away_restarts_no_worker(
    container: dict[str, Any], probe: str, status: int
) -> None:
    path = container[probe]["httpGet"]["path"]

    answer = answer_health(
        lambda: health(ConnectionState.RECONNECTING, blocked_ms=60_000), method="GET", path=path
    )

    assert answer.status == status


def test_settings_reach_the_worker(container: dict[str, Any]) -> None:
    environ = {
        each["name"]: each.get("value") or f"{'signkey-prod-' + '0f' * 16}"
        for each in container["env"]
    }

    settings = resolve(environ=environ)

    assert settings.is_production
    assert settings.api_base_url == "https://stepwell.example.com"
    assert settings.app_version == "1.0.0"
    assert settings.signing_key
    assert settings.event_key
    assert default_instance_id(environ) == environ["STEPWELL_INSTANCE_ID"]


def test_secrets_and_names_come_from_the_cluster(container: dict[str, Any]) -> None:
    sources = {each["name"]: each.get("valueFrom", {}) for each in container["env"]}

    assert sources["STEPWELL_INSTANCE_ID"]["fieldRef"]["fieldPath"] == "metadata.name"
    for name in ("STEPWELL_SIGNING_KEY", "STEPWELL_EVENT_KEY"):
        assert sources[name]["secretKeyRef"]["name"] == "stepwell"


def test_worker_has_time_to_finish(pod: dict[str, Any]) -> None:
    assert pod["terminationGracePeriodSeconds"] >= 60
