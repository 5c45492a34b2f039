"""What `connect` and `serve` refuse to run, and how each says what to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fastapi
import flask
import pytest

import stepwell
import stepwell.asgi
import stepwell.django
import stepwell.fast_api
import stepwell.flask
import stepwell.starlette
import stepwell.wsgi
from stepwell.connect import connect
from stepwell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

ELSEWHERE = "https://stepwell.example.com"
KEY = "signkey-prod-0123456789abcdef0123456789abcdef"
VARIABLES = ("DEV", "SIGNING_KEY", "SIGNING_KEY_FALLBACK", "BASE_URL", "API_BASE_URL")


async def ship(_ctx: stepwell.Context) -> int:
    return 1


def shop(**options: Any) -> stepwell.Client:
    return stepwell.Client(app_id="shop", **options)


def declared(client: stepwell.Client) -> list[stepwell.Function[Any]]:
    return [client.function("ship", event="order/paid")(ship)]


def connects(client: Any, functions: Any) -> object:
    return connect(apps=[(client, functions)])


def serves_fast_api(client: Any, functions: Any) -> None:
    stepwell.fast_api.serve(fastapi.FastAPI(), client, functions)


def serves_flask(client: Any, functions: Any) -> None:
    stepwell.flask.serve(flask.Flask("shop"), client, functions)


WAYS = {
    "connect(apps=[(client, [function])])": connects,
    "stepwell.asgi.serve(client, [function])": stepwell.asgi.serve,
    "stepwell.wsgi.serve(client, [function])": stepwell.wsgi.serve,
    "stepwell.fast_api.serve(app, client, [function])": serves_fast_api,
    "stepwell.flask.serve(app, client, [function])": serves_flask,
}
ways = pytest.mark.parametrize(("form", "runs"), WAYS.items(), ids=lambda each: str(each)[:20])


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"STEPWELL_{name}", raising=False)
        monkeypatch.delenv(f"INNGEST_{name}", raising=False)


# --- the key ---


@ways
@pytest.mark.parametrize("as_option", [False, True])
def test_server_elsewhere_without_a_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, form: str, runs: Callable[..., object], as_option: bool
) -> None:
    if not as_option:
        monkeypatch.setenv("STEPWELL_BASE_URL", ELSEWHERE)
    client = shop(api_base_url=ELSEWHERE) if as_option else shop()

    with pytest.raises(ConfigError, match=r"STEPWELL_SIGNING_KEY.*STEPWELL_DEV=1") as caught:
        runs(client, declared(client))
    assert caught.value.code == "signing_key_missing"


@ways
@pytest.mark.parametrize(
    ("options", "environ"),
    [
        ({"api_base_url": ELSEWHERE, "is_production": False}, {}),
        ({"api_base_url": ELSEWHERE, "signing_key": KEY}, {}),
        ({"api_base_url": ELSEWHERE}, {"STEPWELL_DEV": "1"}),
        ({}, {"STEPWELL_DEV": ELSEWHERE}),
        ({}, {"INNGEST_DEV": "1", "INNGEST_BASE_URL": ELSEWHERE}),
        ({}, {}),
        ({"api_base_url": "http://localhost:8288"}, {}),
        ({"api_base_url": "http://[::1]:8288"}, {}),
        ({"api_base_url": "http://127.0.0.2:8288"}, {}),
    ],
)
def test_what_says_that_it_is_meant_is_enough(
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    runs: Callable[..., object],
    options: dict[str, Any],
    environ: dict[str, str],
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    client = shop(**options)

    runs(client, declared(client))


def test_program_that_only_sends_needs_no_signing_key() -> None:
    settings = shop(api_base_url=ELSEWHERE, event_key="key").settings

    assert (settings.is_production, settings.event_key) == (False, "key")


# --- the right form ---


@ways
def test_plain_function_is_refused_by_its_name(form: str, runs: Callable[..., object]) -> None:
    with pytest.raises(ConfigError) as caught:
        runs(shop(), [ship])

    assert caught.value.message.startswith("ship is given as a function of app 'shop'")
    assert '@client.function("ship", event="order/paid")' in caught.value.message
    assert form in caught.value.message


@ways
@pytest.mark.parametrize("functions", [None, "ship", 7])
def test_functions_are_a_list(form: str, runs: Callable[..., object], functions: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        runs(shop(), functions)

    assert caught.value.message.endswith(form)


@ways
def test_one_function_is_no_list(form: str, runs: Callable[..., object]) -> None:
    client = shop()

    with pytest.raises(ConfigError, match="a Function stands where the functions") as caught:
        runs(client, declared(client)[0])
    assert form in caught.value.message


@ways
def test_swapped_arguments_are_refused(form: str, runs: Callable[..., object]) -> None:
    client = shop()

    with pytest.raises(ConfigError, match="a list stands where the client belongs") as caught:
        runs(declared(client), client)
    assert form in caught.value.message


def test_django_refuses_swapped_arguments_too() -> None:
    client = shop()
    swapped: Any = (declared(client), client)

    with pytest.raises(ConfigError, match=r"write stepwell.django.serve\(client, \[function\]\)"):
        stepwell.django.serve(*swapped)


@pytest.mark.parametrize("apps", [[shop()], shop(), (shop(), []), [(shop(),)], "shop"])
def test_apps_are_pairs(apps: Any) -> None:
    with pytest.raises(ConfigError, match=r"write connect\(apps=\[\(client, \[function\]\)\]\)"):
        connect(apps=apps)


@pytest.mark.parametrize(
    ("serve", "program", "said"),
    [
        (stepwell.flask.serve, fastapi.FastAPI(), "a FastAPI stands where a Flask belongs"),
        (stepwell.flask.serve, shop(), "a Client stands where a Flask belongs"),
        (stepwell.fast_api.serve, flask.Flask("shop"), "a Flask stands where a Starlette belongs"),
        (stepwell.starlette.serve, None, "a NoneType stands where a Starlette belongs"),
    ],
)
def test_program_of_another_framework_is_refused(serve: Any, program: Any, said: str) -> None:
    client = shop()

    with pytest.raises(ConfigError, match=said):
        serve(program, client, declared(client))
