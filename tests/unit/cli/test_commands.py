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
    (request,) = [request for request in script.requests if request.method == "POST"]
    return msgspec.json.decode(request.body)


@pytest.fixture
def takes_events(script: ScriptedApi) -> ScriptedApi:
    """Answers one event with its id and the run that it started."""
    script.answer("/e/NO_EVENT_KEY_SET", {"ids": ["01EVENT"], "status": 200})
    script.answer("/v2/events/01EVENT/runs", {"data": [RUN]})
    return script


def test_send_prints_the_id_and_says_what_it_started(
    ask: Callable[..., Ran], takes_events: ScriptedApi
) -> None:
    script = takes_events
    ran = ask("send", "order.paid", '{"n": 12345678901234567890}', "--id", "mine")
    assert (ran.code, ran.out, ran.err) == (0, "01EVENT\n", "started shop/ship  01RUN\n")
    assert len(script.requests) == 2
    assert sent(script) == [
        {"name": "order.paid", "data": {"n": 12345678901234567890}, "id": "mine"}
    ]


def test_send_without_data_sends_an_empty_object(
    ask: Callable[..., Ran], takes_events: ScriptedApi
) -> None:
    ran = ask("send", "tick", "--json")
    assert (msgspec.json.decode(ran.out), ran.err) == ({"ids": ["01EVENT"], "runs": [RUN]}, "")
    assert sent(takes_events) == [{"name": "tick", "data": {}}]


@pytest.mark.parametrize("own_id", [(), ("--id", "mine")])
def test_an_event_that_started_nothing_says_so(
    ask: Callable[..., Ran], script: ScriptedApi, own_id: tuple[str, ...]
) -> None:
    script.answer("/e/NO_EVENT_KEY_SET", {"ids": ["01EVENT"], "status": 200})
    script.answer("/v2/events/01EVENT/runs", {"page": {"limit": 40}})
    script.answer("/v1/events/01EVENT", {"data": EVENT})
    ran = ask("send", "tick", *own_id)
    assert (ran.code, ran.out) == (0, "01EVENT\n")
    assert ran.err.startswith("started no function: ")
    assert "no registered function has a trigger that fits tick" in ran.err
    assert ("an event with the id mine started them within the last 24 hours" in ran.err) == bool(
        own_id
    )


def test_an_event_for_runs_that_wait_says_what_it_did_to_them(
    ask: Callable[..., Ran], script: ScriptedApi
) -> None:
    told = {"continued": ["01RUN"], "cancelled": ["01OTHER"]}
    script.answer("/e/NO_EVENT_KEY_SET", {"ids": ["01EVENT"], "status": 200})
    script.answer("/v2/events/01EVENT/runs", {"page": {"limit": 40}})
    script.answer("/v1/events/01EVENT", {"data": EVENT | {"told": {"pending": True}}})
    script.answer("/v1/events/01EVENT", {"data": EVENT | {"told": told}})
    assert ask("send", "approved").err == "continued 01RUN\ncancelled 01OTHER\n"
    assert ask("show", "event", "01EVENT").out.splitlines()[-2:] == [
        "continued 01RUN",
        "cancelled 01OTHER",
    ]


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_an_event_is_sent_even_if_its_runs_cannot_be_read(
    ask: Callable[..., Ran], script: ScriptedApi, words: tuple[str, ...]
) -> None:
    script.answer("/e/NO_EVENT_KEY_SET", {"ids": ["01EVENT"], "status": 200})
    script.answer("/v2/events/01EVENT/runs", b"Authentication failed", 401)
    ran = ask("send", "tick", *words)
    assert ran.code == 0
    assert "01EVENT" in ran.out
    assert "what it started cannot be read" in ran.err
    assert "wants a signing key" in ran.err


def test_send_reads_data_from_a_file_or_from_standard_input(
    ask: Callable[..., Ran],
    takes_events: ScriptedApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "data.json").write_text('{"from": "file"}')
    assert ask("send", "a", "--data-file", "data.json").code == 0
    assert sent(takes_events)[0]["data"] == {"from": "file"}
    takes_events.requests.clear()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"from": "pipe"}')))
    assert ask("send", "a", "--data-file", "-").code == 0
    assert sent(takes_events)[0]["data"] == {"from": "pipe"}


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
        {"ids": [], "status": 400, "code": "event_name_reserved",
         "error": "event name is reserved for internal use: inngest/a"},
        400,
    )  # fmt: skip
    ran = ask("send", "inngest/a")
    assert ran.code == 1
    assert "reserved for internal use: inngest/a [event_name_reserved]" in ran.err


# --- list ---


def test_list_runs(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    running = {
        "id": "01NEW", "status": "RUNNING", "queuedAt": at(0), "app": {"id": "shop"},
        "function": {"slug": "old", "isArchived": True},
        "waiting": {"reason": "no_worker", "text": "no connected worker has shop-old"},
    }  # fmt: skip
    script.answer("/v2/runs", {"data": [running, RUN], "page": {"limit": 20}})
    ran = ask("list", "runs", "--status", "failed", "--app", "shop", "--since", "2026-01-01")
    assert ran.code == 0
    head, first, second = ran.out.splitlines()
    assert head.split() == ["RUN", "APP", "FUNCTION", "STATUS", "QUEUED", "TOOK", "WAITS"]
    assert first.split()[:5] == ["01NEW", "shop", "old", "(archived)", "RUNNING"]
    assert first.endswith("no connected worker has shop-old")
    assert second.split()[:4] == ["01RUN", "shop", "ship", "COMPLETED"]
    assert second.endswith("30 ms")
    assert script.last.query == [
        ("appId", "shop"), ("status", "FAILED"), ("from", "2026-01-01"), ("limit", "20"),
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["runs", "events"])
def test_a_time_that_is_none_is_refused_with_what_is_allowed(
    ask: Callable[..., Ran], script: ScriptedApi, what: str
) -> None:
    ran = ask("list", what, "--since", "yesterday")
    assert ran.code == 2
    for words in ("--since", "'yesterday' is no time", "2026-08-20T10:00:00Z", "Unix seconds"):
        assert words in ran.err
    assert script.requests == []


@pytest.mark.parametrize("since", ["1790000000", "1790000000000", "2026-01-01"])
def test_times_are_sent_as_they_were_written(
    ask: Callable[..., Ran], script: ScriptedApi, since: str
) -> None:
    script.answer("/v2/runs", {"metadata": {}})
    assert ask("list", "runs", "--since", since).code == 0
    assert ("from", since) in script.last.query


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


EVENT: dict[str, Any] = {
    "internal_id": "01EVENT",
    "id": "order-7",
    "name": "order.paid",
    "received_at": at(0),
    "data": {"order": 7},
}


def test_list_events(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    long = EVENT | {"internal_id": "01OLD", "id": "01OLD", "data": {"text": "x" * 500}}
    script.answer("/v1/events", {"data": [EVENT, long]})
    ran = ask("list", "events", "--name", "order.paid", "--until", "2026-08-20")
    head, first, second = ran.out.splitlines()
    assert head.split() == ["EVENT", "NAME", "ID", "RECEIVED", "DATA"]
    assert first.split() == [
        "01EVENT", "order.paid", "order-7", "1970-01-01", "00:00:00", '{"order":7}',
    ]  # fmt: skip
    assert second.split()[:3] == ["01OLD", "order.paid", "1970-01-01"]
    assert second.endswith("xxx ...")
    assert len(second) < 150
    assert script.last.query == [
        ("received_after", "0"), ("received_before", "2026-08-20"), ("name", "order.paid"),
        ("limit", "20"),
    ]  # fmt: skip
    ran = ask("list", "events", "--since", "2026-08-01", "--json")
    assert msgspec.json.decode(ran.out) == [EVENT, long]
    assert script.last.query[0] == ("received_after", "2026-08-01")


def test_list_events_joins_pages(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/v1/events", {"data": [EVENT | {"internal_id": f"{n:02}"} for n in range(51)]})
    script.answer("/v1/events", {"data": [EVENT | {"internal_id": "51"}]})
    events = msgspec.json.decode(ask("list", "events", "--limit", "60", "--json").out)
    assert [event["internal_id"] for event in events] == [f"{n:02}" for n in range(52)]
    assert script.last.query[-2:] == [("limit", "9"), ("cursor", "50")]


def test_list_events_without_events(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/v1/events", {"data": []})
    assert ask("list", "events").err == "No events.\n"


def test_show_event_has_its_data_and_its_runs(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/v1/events/01EVENT", {"data": EVENT})
    script.answer("/v2/events/01EVENT/runs", {"data": [RUN]})
    assert ask("show", "event", "01EVENT").out.splitlines() == [
        "event     01EVENT",
        "name      order.paid",
        "id        order-7",
        "received  1970-01-01 00:00:00",
        'data      {"order":7}',
        "run       01RUN  shop/ship  completed",
    ]
    shown = msgspec.json.decode(ask("show", "event", "01EVENT", "--json").out)
    assert shown == {"event": EVENT, "runs": [RUN]}


def test_show_event_that_started_nothing(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/v1/events/01EVENT", {"data": EVENT | {"id": "01EVENT"}})
    script.answer("/v2/events/01EVENT/runs", {"page": {"limit": 40}})
    out = ask("show", "event", "01EVENT").out
    assert "\nid  " not in out
    assert out.splitlines()[-1].startswith("started no function: no registered function")


WORKER = {
    "id": "c1", "instanceId": "one", "status": "READY", "apps": [{"id": "shop", "version": "v7"}],
    "sdkLanguage": "py", "sdkVersion": "v1", "maxWorkerConcurrency": 5, "callsDone": 12,
    "load": {"calls": 2, "instanceCalls": 3, "limit": 5}, "ip": "203.0.113.9", "os": "linux",
    "cpuCores": 8, "memBytes": "17179869184",
}  # fmt: skip
LEFT = {
    "id": "c2", "instanceId": "two", "status": "DISCONNECTED", "apps": [{"id": "other"}],
    "disconnectReason": "At least one function is invalid", "callsDone": 0,
}  # fmt: skip


def test_list_workers(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    joining = WORKER | {"id": "c0", "status": "CONNECTED"}
    script.answer("/v2/workers", {"data": [joining, WORKER]})
    ran = ask("list", "workers", "--app", "shop", "--instance", "one")
    first, second = ran.out.splitlines()[1:]
    assert " ".join(first.split()) == "one shop v7 READY 2 of 5 (3 in all) 12 py v1 c1"
    assert "CONNECTED" in second, "those that take calls come first"
    assert script.last.query[:2] == [("appId", "shop"), ("instanceId", "one")]
    assert msgspec.json.decode(ask("list", "workers", "--json").out) == [WORKER, joining]


def test_list_workers_and_those_that_left(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/v2/workers", {"data": [WORKER]})
    script.answer("/v2/workers", {"data": [LEFT]})
    ran = ask("list", "workers", "--all", "--limit", "7")
    left = " ".join(ran.out.splitlines()[2].split())
    assert left == "two other DISCONNECTED 0 c2 At least one function is invalid"
    assert {("status", "DISCONNECTED"), ("limit", "7")} <= set(script.last.query)


def test_watched_workers_are_printed_when_they_change(
    ask: Callable[..., Ran], script: ScriptedApi
) -> None:
    for workers in ([WORKER], [WORKER], [WORKER, LEFT]):
        script.answer("/v2/workers", {"data": workers})
    script.answer("/v2/workers", {"errors": [{"code": "internal_error", "message": "x"}]}, 500)
    ran = ask("list", "workers", "--watch", "--json")
    assert ran.code != 0, "it goes on until it is told that something is wrong"
    shown = [msgspec.json.decode(line) for line in ran.out.splitlines()]
    assert shown == [[WORKER], [WORKER, LEFT]]


def test_show_worker(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/v2/workers/c1", {"data": WORKER})
    assert ask("show", "worker", "c1").out.splitlines() == [
        "worker      one",
        "connection  c1",
        "status      READY",
        "load        2 of 5 (3 in all)",
        "calls done  12",
        "limit       5",
        "sdk         py v1",
        "address     203.0.113.9",
        "machine     linux, 8 cores, 16.0 GiB",
        "app         shop  version v7  0 functions",
    ]
    assert msgspec.json.decode(ask("show", "worker", "c1", "--json").out) == WORKER


def test_show_worker_by_its_instance(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/v2/workers", {"data": [LEFT]})
    assert "because     At least one" in ask("show", "worker", "two").out
    assert ("instanceId", "two") in script.last.query


def test_show_worker_that_is_not_known(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    script.answer("/v2/workers", {})
    ran = ask("show", "worker", "three")
    assert ran.code != 0
    assert "list workers --all" in ran.err


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


def test_schedules_are_triggers_too(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    function = {"slug": "daily", "triggers": [{"type": "CRON", "value": "0 9 * * *"}]}
    script.answer("/v2/apps", {"data": [{"id": "shop"}]})
    script.answer("/v2/apps/shop", {"data": {"id": "shop", "name": "shop"}})
    script.answer("/v2/apps/shop/functions", {"data": [function]})
    assert "cron 0 9 * * *" in ask("list", "functions").out
    assert ask("show", "app", "shop").out.splitlines()[-1] == "function   daily  cron 0 9 * * *"


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
    script.answer("/v1/events/01EVENT", {"data": EVENT})
    shown = msgspec.json.decode(ask("show", "run", "01RUN", "--json").out)
    assert shown == {
        "run": RUN,
        "event": EVENT,
        "trace": trace(FIRST, status="COMPLETED")["data"]["rootSpan"],
    }


def test_show_run_has_the_event_that_started_it(
    ask: Callable[..., Ran], script: ScriptedApi
) -> None:
    script.answer("/v2/runs/01RUN", {"data": RUN})
    script.answer("/v1/runs/01RUN", {"data": {"output": "y" * 5_000}})
    script.answer("/v1/events/01EVENT", {"data": EVENT | {"data": {"text": "x" * 5_000}}})
    script.answer("/v2/runs/01RUN/trace", trace(FIRST, status="COMPLETED"))
    out = ask("show", "run", "01RUN").out
    assert "event     order.paid  01EVENT\n" in out
    assert 'data      {"text":"xxx' in out
    assert out.count("characters; --full shows all)") == 2
    assert len(out) < 6_000
    full = ask("show", "run", "01RUN", "--full").out
    assert "x" * 5_000 in full
    assert "y" * 5_000 in full


def test_show_run_says_why_it_does_not_go_on(ask: Callable[..., Ran], script: ScriptedApi) -> None:
    stuck = {
        key: value for key, value in RUN.items() if key not in ("endedAt", "durationMs", "output")
    } | {
        "status": "QUEUED",
        "function": {"slug": "ship", "isArchived": True},
        "waiting": {"reason": "no_worker", "text": "no connected worker has shop-ship"},
    }
    script.answer("/v2/runs/01RUN", {"data": stuck})
    script.answer("/v2/runs/01RUN/trace", trace(status="QUEUED"))
    out = ask("show", "run", "01RUN").out
    assert "function  shop/ship (archived)\n" in out
    assert "no worker registers it any more" in out
    assert out.splitlines()[-2:] == ["queued", "waits     no connected worker has shop-ship"]


STACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "a.py", line {n}, in f\n    f({n})\n' for n in range(9)
)


def script_a_failure(script: ScriptedApi) -> None:
    error = {"name": "ValueError", "message": "no stock", "stack": STACK + "ValueError: no stock\n"}
    failed = step("charge", status="FAILED", endedAt=at(40), output=error,
                  children=[attempt(0, 30) | {"output": error}, attempt(1, 40)])  # fmt: skip
    script.answer("/v2/runs/01RUN", {"data": RUN | {"status": "FAILED", "output": error}})
    script.answer("/v1/runs/01RUN", {"data": {"output": error}})
    script.answer("/v2/runs/01RUN/trace", trace(failed, status="FAILED"))


def test_show_run_shows_the_last_frames_of_a_stack_once(
    ask: Callable[..., Ran], script: ScriptedApi
) -> None:
    script_a_failure(script)
    out = ask("show", "run", "01RUN").out
    assert out.count('File "a.py", line 8') == 1
    assert out.count('File "a.py", line 6') == 1
    assert 'File "a.py", line 5' not in out
    assert "... (--stack shows all)" in out
    assert out.splitlines()[-1] == "error     ValueError: no stock"


@pytest.mark.parametrize("option", ["--stack", "--verbose"])
def test_show_run_shows_whole_stacks_on_request(
    ask: Callable[..., Ran], script: ScriptedApi, option: str
) -> None:
    script_a_failure(script)
    out = ask("show", "run", "01RUN", option).out
    assert out.count('File "a.py", line 0') == 1
    assert "Traceback (most recent call last):" in out


@pytest.mark.parametrize(
    ("cancellation", "shown"),
    [
        ({"reason": "an event", "event": "order/void"}, "an event, order/void"),
        ({"reason": "its start timeout"}, "its start timeout"),
    ],
)
def test_show_run_says_why_it_was_cancelled(
    ask: Callable[..., Ran], script: ScriptedApi, cancellation: dict[str, str], shown: str
) -> None:
    run = {key: value for key, value in RUN.items() if key != "output"}
    run |= {"status": "CANCELLED", "cancellation": cancellation}
    script.answer("/v2/runs/01RUN", {"data": run})
    script.answer("/v2/runs/01RUN/trace", trace(status="CANCELLED"))
    out = ask("show", "run", "01RUN").out
    assert out.splitlines()[-2:] == ["cancelled in 30 ms", f"reason    {shown}"]


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
    script.answer("/v1/events/01EVENT", {"data": EVENT})
    lines = [
        msgspec.json.decode(line)
        for line in ask("show", "run", "01RUN", "--watch", "--json").out.splitlines()
    ]
    assert lines[0] == {"run": RUN | {"status": "RUNNING"}, "event": EVENT}
    assert [line.get("name") for line in lines[1:]] == ["reserve", "charge", "charge", None]
    assert lines[-1] == {"run": RUN}


@pytest.mark.usefixtures("_hasty")
@pytest.mark.parametrize("words", [(), ("--json",)])
def test_watching_tells_once_what_has_been_waited_for_for_a_while(
    ask: Callable[..., Ran],
    script: ScriptedApi,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setattr(show_run, "WAITING_TOLD_AFTER_S", 0)
    nobody = {"reason": "no_worker", "text": "no connected worker has shop-ship"}
    waiting = RUN | {"status": "RUNNING", "waiting": nobody}
    for answer in (waiting, waiting, waiting, RUN):
        script.answer("/v2/runs/01RUN", {"data": answer})
    script.answer("/v1/runs/01RUN", {"data": {"output": 1}})
    for status in ("RUNNING", "RUNNING", "COMPLETED"):
        script.answer("/v2/runs/01RUN/trace", trace(status=status))
    lines = ask("show", "run", "01RUN", "--watch", *words).out.splitlines()
    told = (
        msgspec.json.encode({"waiting": nobody}).decode()
        if words
        else f"waits     {nobody['text']}"
    )
    assert lines.count(told) == 1


def test_waiting_between_two_steps_is_no_news() -> None:
    waits = show_run._Waits()
    nobody, retry = {"reason": "no_worker"}, {"reason": "retry"}
    assert waits.news(nobody, 0.0) is None
    assert waits.news(None, 0.5) is None
    assert waits.news(nobody, 2.0) is None
    assert waits.news(nobody, 3.0) == nobody
    assert waits.news(nobody, 9.0) is None
    assert waits.news(retry, 9.0) is None
    assert waits.news(retry, 10.0) == retry


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
