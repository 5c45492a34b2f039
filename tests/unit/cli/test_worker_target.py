"""What `stepwell worker` may be given, and what it says to anything else."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

import pytest

from stepwell.cli.worker_process import Overrides, made
from stepwell.cli.worker_target import load
from stepwell.connect import WorkerConnection
from stepwell.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOTHING = Overrides(instance_id=None, app_version=None, max_worker_concurrency=None)
SHOP = """
import stepwell
client = stepwell.Client(app_id="shop", api_base_url="http://127.0.0.1:1", is_production=False)
other = stepwell.Client(app_id="other", api_base_url="http://127.0.0.1:1", is_production=False)
empty = stepwell.Client(app_id="empty", api_base_url="http://127.0.0.1:1", is_production=False)

@client.function("ship", event="order/paid")
async def ship(ctx): ...

@client.create_function(fn_id="bill", trigger=stepwell.TriggerEvent(event="order/paid"))
def bill(ctx): ...

@other.function("count", event="order/paid")
async def count(ctx): ...

class holder:
    client = client
"""
_numbers = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write a module with this text into the working directory, and give its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written: list[str] = []

    def write(text: str) -> str:
        name = f"written_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


def app_ids(targets: list[str], imports: list[str] | None = None) -> dict[str, list[str]]:
    """The functions by app."""
    apps = load(targets, imports or [])
    assert not isinstance(apps, WorkerConnection)
    return {client.app_id: [each.id for each in functions] for client, functions in apps}


SHIP_AND_BILL = ["shop-ship", "shop-bill"]


@pytest.mark.parametrize(
    ("name", "apps"),
    [
        ("client", {"shop": SHIP_AND_BILL}),
        ("holder.client", {"shop": SHIP_AND_BILL}),
        ("clients", {"shop": SHIP_AND_BILL, "other": ["other-count"]}),
        ("apps", {"shop": ["shop-ship"], "other": ["other-count"]}),
        ("app", {"shop": ["shop-bill"]}),
        ("mixed", {"shop": ["shop-ship"], "other": ["other-count"]}),
    ],
)
def test_targets(module: Callable[[str], str], name: str, apps: dict[str, list[str]]) -> None:
    shop = module(
        SHOP + "clients = [client, other]\n"
        "apps = [(client, [ship]), (other, [count])]\n"
        "app = (client, [bill])\n"
        "mixed = ((client, [ship]), other)\n"
    )

    assert app_ids([f"{shop}:{name}"]) == apps


def test_several_targets_share_a_connection(module: Callable[[str], str]) -> None:
    shop = module(SHOP)

    found = app_ids([f"{shop}:client", f"{shop}:other", f"{shop}:client"])

    assert found == {"shop": SHIP_AND_BILL, "other": ["other-count"]}


def test_functions_that_other_modules_declare_are_found(module: Callable[[str], str]) -> None:
    shop = module(SHOP)
    more = module(
        f"from {shop} import client\nclient.function('more', event='more')(lambda ctx: 1)"
    )

    assert app_ids([f"{shop}:client"], [more]) == {"shop": [*SHIP_AND_BILL, "shop-more"]}


def test_connection_is_taken_as_it_is(module: Callable[[str], str]) -> None:
    shop = module(
        SHOP + "from stepwell.connect import connect\n"
        "connection = connect([(client, [ship])], instance_id='mine')\n"
    )

    loaded = load([f"{shop}:connection"])

    assert isinstance(loaded, WorkerConnection)
    assert made([f"{shop}:connection"], [], NOTHING) is loaded


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("{shop}", "must look like MODULE:NAME"),
        (":client", "must look like MODULE:NAME"),
        ("{shop}:", "must look like MODULE:NAME"),
        ("{shop}.py:client", "would: {shop}:client"),
        ("./{shop}.py", "would: {shop}:client"),
        (".{shop}:client", "begins with a dot"),
        ("no_such_module:client", "no module 'no_such_module'"),
        ("{shop}.sub:client", "no module '{shop}.sub'"),
        ("{shop}:clint", "did you mean {shop}:client or {shop}:other or {shop}:empty?"),
        ("{shop}:client.nothing", "has no 'client.nothing'"),
        ("{shop}:empty", "without functions"),
        ("{shop}:ship", "is a Function"),
        ("{shop}:nothing", "is a list"),
        ("{shop}:numbers", "is a list"),
        ("{shop}:stepwell", "is a module"),
    ],
)
def test_wrong_targets(module: Callable[[str], str], target: str, what: str) -> None:
    shop = module(SHOP + "nothing = []\nnumbers = [1, 2]\n")

    with pytest.raises(ConfigError) as caught:
        load([target.format(shop=shop)])

    assert what.format(shop=shop) in caught.value.message
    assert caught.value.code == "worker_target_invalid"


def test_module_without_any_client(module: Callable[[str], str]) -> None:
    name = module("x = 1\n")

    with pytest.raises(ConfigError, match="no client or connection at all"):
        load([f"{name}:client"])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import no_such_package\n", "No module named 'no_such_package'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("raise TypeError('mine')\n", "TypeError: mine"),
        ("def broken(:\n", "SyntaxError"),
    ],
)
def test_module_that_fails_shows_its_own_traceback(
    module: Callable[[str], str], text: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = module(text)

    with pytest.raises(ConfigError, match=f"importing {name} failed") as caught:
        load([f"{name}:client"])

    assert what in caught.value.message
    shown = capsys.readouterr().err
    assert f"{name}.py" in shown
    assert "importlib" not in shown
    assert "worker_target.py" not in shown


def test_connection_among_other_targets(module: Callable[[str], str]) -> None:
    shop = module(
        SHOP + "from stepwell.connect import connect\nconnection = connect([(client, [ship])])\n"
    )

    with pytest.raises(ConfigError, match="run it without other targets"):
        load([f"{shop}:connection", f"{shop}:other"])


def test_command_line_is_stronger_than_the_client(module: Callable[[str], str]) -> None:
    shop = module(SHOP)
    overrides = Overrides(instance_id="box-1", app_version="v9", max_worker_concurrency=4)

    connection = made([f"{shop}:client"], [], overrides)

    assert connection.instance_id == "box-1"
    assert connection.max_worker_concurrency == 4
    assert connection.app_versions == {"shop": "v9"}


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (
            Overrides(instance_id="a", app_version=None, max_worker_concurrency=None),
            "--instance-id",
        ),
        (
            Overrides(instance_id=None, app_version="v", max_worker_concurrency=None),
            "--app-version",
        ),
        (Overrides(instance_id=None, app_version=None, max_worker_concurrency=1), "--max-worker"),
    ],
)
def test_command_line_cannot_contradict_a_connection(
    module: Callable[[str], str], overrides: Overrides, what: str
) -> None:
    shop = module(
        SHOP + "from stepwell.connect import connect\n"
        "connection = connect([(client, [ship])], instance_id='mine', max_worker_concurrency=2)\n"
    )

    with pytest.raises(ConfigError, match=what):
        made([f"{shop}:connection"], [], overrides)
