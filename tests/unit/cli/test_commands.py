"""The commands that talk to a server, against a scripted one."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from stepwell.cli import show_run
from stepwell.cli.api import Unreachable
from tests.unit.cli.test_trace import at, attempt, step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.cli.conftest import Ran, ScriptedApi

RUN: dict[str, Any] = {
    "id": "01RUN",
    "status": "COMPLETED",
    "queuedAt": at(0),
    "startedAt": at(10),
    "endedAt": at(40),
    "durationMs": "30",
    "trigger": {"eventIds": ["01EVENT"], "eventName": "order.paid"},
    "function": {"id": "uuid", "name": "Ship it", "slug": "ship"},
    "app": {"id": "shop"},
    "output": {"shipped": True},
}


# --- send ---


def sent(script: ScriptedApi) -> Any:
    return msgspec.json.decode(script.last.body)


def test_send_prints_the_id(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/e/NO_EVENT_KEY_SET", {"ids": ["01EVENT"], "status": 200})
    ran = ask("send", "order.paid", '{"n": 12345678901234567890}', "--id", "mine")
    assert (ran.code, ran.out, ran.err) == (0, "01EVENT\n", "")
    assert sent(script) == [
        {"name": "order.paid", "data": {"n": 12345678901234567890}, "id": "mine"}
    ]


def test_send_without_data_sends_an_empty_object(
    ask: Callable[..., Ran], script: ScriptedApi
) -> None:
    script.answer("/e/NO_EVENT_KEY_SET", {"ids": ["01EVENT"], "status": 200})
    assert ask("send", "tick", "--json").out == '{\n  "ids": [\n    "01EVENT"\n  ]\n}\n'
    assert sent(script) == [{"name": "tick", "data": {}}]


def test_send_reads_data_from_a_file_or_from_standard_input(
    ask: Callable[..., Ran],
    script: ScriptedApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script.answer("/e/NO_EVENT_KEY_SET", {"ids": ["01EVENT"], "status": 200})
    (tmp_path / "data.json").write_text('{"from": "file"}')
    assert ask("send", "a", "--data-file", "data.json").code == 0
    assert sent(script)[0]["data"] == {"from": "file"}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"from": "pipe"}')))
    assert ask("send", "a", "--data-file", "-").code == 0
    assert sent(script)[0]["data"] == {"from": "pipe"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("[1]",), "must be a JSON object"),
        (("{",), "not JSON"),
        (("--data-file", "none.json"), "cannot read none.json"),
        (("{}", "--data-file", "x"), "not both"),
    ],
)
def test_send_refuses_bad_data_before_it_asks_the_server(
    ask: Callable[..., Ran], script: ScriptedApi, words: tuple[str, ...], told: str
) -> None:
    ran = ask("send", "a", *words)
    assert ran.code == 2
    assert told in ran.err
    assert script.requests == []


def test_send_shows_why_the_server_refused(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer(
        "/e/NO_EVENT_KEY_SET",
        {"ids": [], "status": 400, "error": "event name is reserved for internal use: inngest/a"},
        400,
    )
    ran = ask("send", "inngest/a")
    assert ran.code == 1
    assert "reserved for internal use" in ran.err


# --- list ---


def test_list_runs(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    running = {"id": "01NEW", "status": "RUNNING", "queuedAt": at(0)}
    script.answer("/v2/runs", {"data": [running, RUN], "page": {"limit": 20}})
    ran = ask("list", "runs", "--status", "failed", "--app", "shop", "--since", "2026-01-01")
    assert ran.code == 0
    head, first, second = ran.out.splitlines()
    assert head.split() == ["RUN", "APP", "FUNCTION", "STATUS", "QUEUED", "TOOK"]
    assert first.split()[:2] == ["01NEW", "RUNNING"]
    assert second.split()[:4] == ["01RUN", "shop", "ship", "COMPLETED"]
    assert second.endswith("30 ms")
    assert script.last.query == [
        ("appId", "shop"), ("status", "FAILED"), ("from", "2026-01-01"), ("limit", "20"),
    ]  # fmt: skip


def test_list_runs_of_an_event(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/v2/events/01EVENT/runs", {"data": [RUN]})
    ran = ask("list", "runs", "--event", "01EVENT", "--json")
    assert msgspec.json.decode(ran.out) == [RUN]
    assert ask("list", "runs", "--event", "01EVENT", "--app", "shop").code == 2


def test_list_runs_of_a_function_asks_in_every_app(
    ask: Callable[..., Ran], script: ScriptedApi
) -> None:
    script.answer("/v2/apps", {"data": [{"id": "a"}, {"id": "b"}]})
    script.answer("/v2/runs", {"metadata": {}})
    ran = ask("list", "runs", "--function", "ship")
    assert (ran.code, ran.out, ran.err) == (0, "", "No runs.\n")
    assert script.last.query[:3] == [("appId", "a"), ("appId", "b"), ("functionId", "ship")]


def test_list_runs_of_a_function_without_apps_is_empty(
    ask: Callable[..., Ran], script: ScriptedApi
) -> None:
    script.answer("/v2/apps", {"metadata": {}})
    assert ask("list", "runs", "--function", "ship", "--json").out == "[]\n"
    assert [request.path for request in script.requests] == ["/v2/apps"]


def test_list_workers(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    workers = [
        {"id": "c1", "instanceId": "one", "status": "READY", "apps": [{"id": "shop"}],
         "sdkLanguage": "py", "sdkVersion": "v1", "maxWorkerConcurrency": 5},
        {"id": "c2", "instanceId": "two", "status": "DISCONNECTED", "apps": [{"id": "other"}]},
    ]  # fmt: skip
    script.answer("/v2/workers", {"data": workers})
    ran = ask("list", "workers", "--all", "--app", "shop")
    assert ran.out.splitlines()[1].split() == ["one", "shop", "READY", "py", "v1", "5", "c1"]
    assert len(ran.out.splitlines()) == 2
    assert ("all", "true") in script.last.query
    assert msgspec.json.decode(ask("list", "workers", "--json").out) == workers


def test_list_apps(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    app = {"id": "shop", "method": "CONNECT", "appVersion": "v7", "functionCount": 2,
           "latestSync": {"sdkLanguage": "py", "syncedAt": at(0)}}  # fmt: skip
    script.answer("/v2/apps", {"data": [app]})
    assert ask("list", "apps").out.splitlines()[1].split()[:5] == [
        "shop", "connect", "v7", "2", "py",
    ]  # fmt: skip
    assert msgspec.json.decode(ask("list", "apps", "--json").out) == [app]


def test_list_functions(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    function = {
        "slug": "ship",
        "name": "Ship it",
        "app": {"id": "my shop"},
        "triggers": [{"type": "EVENT", "value": "paid", "if": "event.data.a == 'b'"}],
        "configuration": {"retries": {"value": 0, "isDefault": False}},
    }
    script.answer("/v2/apps", {"data": [{"id": "my shop"}]})
    script.answer("/v2/apps/my%20shop/functions", {"data": [function]})
    ran = ask("list", "functions")
    assert " ".join(ran.out.splitlines()[1].split()) == (
        "my shop ship Ship it paid if event.data.a == 'b' 0"
    )
    assert msgspec.json.decode(ask("list", "functions", "--json").out) == [function]


# --- show run ---


def trace(*children: dict[str, Any], status: str = "RUNNING") -> dict[str, Any]:
    return {"data": {"runId": "01RUN", "rootSpan": {"status": status, "children": list(children)}}}


FIRST = step("reserve", endedAt=at(20), durationMs="5")
SECOND = step("charge", endedAt=at(40), durationMs="2", children=[attempt(0, 30)])


def test_show_run_prints_steps_and_result(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/v2/runs/01RUN", {"data": RUN | {"output": {"data": 7}}})
    script.answer("/v1/runs/01RUN", {"data": {"output": 7}})
    script.answer("/v2/runs/01RUN/trace", trace(FIRST, SECOND, status="COMPLETED"))
    ran = ask("show", "run", "01RUN")
    assert ran.code == 0
    assert [line.split()[:5] for line in ran.out.splitlines()[4:7]] == [
        ["+", "0.020", "s", "step", "reserve"],
        ["+", "0.030", "s", "attempt", "charge"],
        ["+", "0.040", "s", "step", "charge"],
    ]
    assert ran.out.splitlines()[-2:] == ["completed in 30 ms", "result    7"]


def test_show_run_as_json_has_run_and_trace(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/v2/runs/01RUN", {"data": RUN})
    script.answer("/v2/runs/01RUN/trace", trace(FIRST, status="COMPLETED"))
    shown = msgspec.json.decode(ask("show", "run", "01RUN", "--json").out)
    assert shown == {"run": RUN, "trace": trace(FIRST, status="COMPLETED")["data"]["rootSpan"]}


def test_show_run_that_is_not_there(ask: Callable[..., Ran]) -> None:
    ran = ask("show", "run", "01GONE")
    assert ran.code == 1
    assert "[not_found]" in ran.err


def script_a_run(script: ScriptedApi, status: str, **run: Any) -> None:
    script.answer("/v2/runs/01RUN", {"data": RUN | {"status": "RUNNING"}})
    script.answer("/v2/runs/01RUN", {"data": RUN | {"status": status} | run})
    script.answer("/v1/runs/01RUN", {"data": {"output": run.get("output", {"shipped": True})}})
    script.answer("/v2/runs/01RUN/trace", trace())
    script.answer("/v2/runs/01RUN/trace", trace(FIRST))
    script.answer("/v2/runs/01RUN/trace", trace(FIRST))
    script.answer("/v2/runs/01RUN/trace", trace(FIRST, SECOND, status=status))


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show_run, "POLL_S", 0)
    monkeypatch.setattr(show_run, "POLL_SLOW_S", 0)


@pytest.mark.usefixtures("_hasty")
def test_watching_ends_with_the_run_and_tells_each_commit_once(
    ask: Callable[..., Ran], script: ScriptedApi
) -> None:
    script_a_run(script, "COMPLETED")
    ran = ask("show", "run", "01RUN", "--watch")
    assert ran.code == 0
    assert ran.out.count("reserve") == 1
    assert ran.out.count("completed in 30 ms") == 1


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("status", ["FAILED", "CANCELLED", "SKIPPED"])
def test_watching_a_run_that_does_not_complete_is_exit_code_one(
    ask: Callable[..., Ran], script: ScriptedApi, status: str
) -> None:
    script_a_run(script, status, output={"name": "ValueError", "message": "no stock"})
    ran = ask("show", "run", "01RUN", "--watch")
    assert ran.code == 1
    assert ("error     ValueError: no stock" in ran.out) == (status == "FAILED")


@pytest.mark.usefixtures("_hasty")
def test_watching_as_json_is_one_object_a_line(
    ask: Callable[..., Ran], script: ScriptedApi
) -> None:
    script_a_run(script, "COMPLETED")
    lines = [
        msgspec.json.decode(line)
        for line in ask("show", "run", "01RUN", "--watch", "--json").out.splitlines()
    ]
    assert [line.get("name") for line in lines] == ["reserve", "charge", "charge", None]
    assert lines[-1] == {"run": RUN}


@pytest.mark.usefixtures("_hasty")
def test_watching_outlives_a_restart_of_the_server(
    ask: Callable[..., Ran], script: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_a_run(script, "COMPLETED")
    read_root = show_run._read_root
    away = iter([False, True, True])

    def sometimes_away(api: Any, path: str) -> dict[str, Any]:
        if next(away, False):
            raise Unreachable("nothing listens there")
        return read_root(api, path)

    monkeypatch.setattr(show_run, "_read_root", sometimes_away)
    ran = ask("show", "run", "01RUN", "--watch")
    assert ran.code == 0
    assert ran.err == "The server is away; the run goes on when it is back.\n"


@pytest.mark.usefixtures("_hasty")
def test_watching_gives_up_on_a_server_that_stays_away(
    ask: Callable[..., Ran], script: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_a_run(script, "COMPLETED")
    monkeypatch.setattr(show_run, "GONE_S", 0)

    def away(api: Any, path: str) -> dict[str, Any]:
        raise Unreachable("nothing listens there")

    monkeypatch.setattr(show_run, "_read_root", away)
    ran = ask("show", "run", "01RUN", "--watch")
    assert ran.code == 1
    assert "nothing listens there" in ran.err
