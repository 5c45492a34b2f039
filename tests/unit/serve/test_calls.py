"""What a call is answered with: statuses, headers and bodies, for each way that it can end."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import stepwell
from stepwell.config import SDK_NAME
from stepwell.errors import NonRetriableError, RetryAfterError, StepError
from stepwell.wire.ids import hash_step_id
from tests.unit.serve.served import (
    KEY,
    ask,
    call,
    call_body,
    client,
    json,
    respond,
    shell,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stepwell.function import Function
    from stepwell.serve.messages import Request, Response

CHARGE = hash_step_id("charge-card", 0)
TRIGGER = stepwell.TriggerEvent(event="order/paid")

Answer = "Callable[[Callable[..., Any], Request], Response]"


def declare(shop: stepwell.Client, handler: Callable[..., Any]) -> Function[Any]:
    return shop.create_function(fn_id="ship", trigger=TRIGGER)(handler)


def on_a_loop(handler: Callable[[], Any], request: Request) -> Response:
    """Answer with an async function that does what the handler does."""
    shop = client()

    async def function(ctx: stepwell.Context) -> Any:
        return handler()

    return respond(shell(shop, declare(shop, function)), request)


def on_a_thread(handler: Callable[[], Any], request: Request) -> Response:
    """The same with a sync function beside a loop."""
    shop = client()
    return respond(shell(shop, declare(shop, lambda ctx: handler())), request)


def here(handler: Callable[[], Any], request: Request) -> Response:
    """The same with a sync function and no loop."""
    shop = client()
    return shell(shop, declare(shop, lambda ctx: handler())).respond_here(request)


def here_async(handler: Callable[[], Any], request: Request) -> Response:
    """The same with an async function and no loop."""
    shop = client()

    async def function(ctx: stepwell.Context) -> Any:
        return handler()

    return shell(shop, declare(shop, function)).respond_here(request)


every_way = pytest.mark.parametrize("answer_of", [on_a_loop, on_a_thread, here, here_async])


def raising(error: BaseException) -> Callable[[], Any]:
    def handler() -> Any:
        raise error

    return handler


@every_way
def test_a_function_that_returned(answer_of: Any) -> None:
    answer = answer_of(lambda: {"a": [1, None]}, call())

    assert answer.status == 200
    assert answer.body == b'{"a":[1,null]}'
    assert answer.headers["X-Inngest-SDK"] == SDK_NAME
    assert answer.headers["X-Inngest-Req-Version"] == "2"
    assert answer.headers["X-Inngest-SDK-Handled"] == "true"
    assert answer.headers["X-Inngest-Framework"] == "test"
    assert answer.headers["X-Inngest-Expected-Server-Kind"] == "dev"
    assert answer.headers["Content-Type"] == "application/json"
    assert "X-Inngest-No-Retry" not in answer.headers
    assert "Retry-After" not in answer.headers


@every_way
def test_nothing_returned_is_null(answer_of: Any) -> None:
    assert answer_of(lambda: None, call()).body == b"null"


@every_way
def test_a_function_that_raised_is_tried_again(answer_of: Any) -> None:
    answer = answer_of(raising(ValueError("out of stock")), call(attempt=2))

    assert answer.status == 500
    assert answer.headers["X-Inngest-No-Retry"] == "false"
    body = json(answer)
    assert (body["name"], body["message"], body["code"]) == (
        "ValueError",
        "out of stock",
        "unknown",
    )
    assert "in raising" not in body["stack"]
    assert "in handler" in body["stack"]
    assert "stepwell/serve" not in body["stack"]


@every_way
@pytest.mark.parametrize("error", [NonRetriableError("no such order"), StepError("card refused")])
def test_a_final_error_is_not_tried_again(answer_of: Any, error: Exception) -> None:
    answer = answer_of(raising(error), call())

    assert answer.status == 400
    assert answer.headers["X-Inngest-No-Retry"] == "true"


@every_way
@pytest.mark.parametrize(("when", "text"), [
    (3_000, "3"),
    (timedelta(minutes=2), "120"),
    (datetime(2026, 11, 22, 13, 45, 52, 346_000, UTC), "2026-11-22T13:45:52.346+00:00"),
])  # fmt: skip
def test_an_error_that_names_a_time(answer_of: Any, when: Any, text: str) -> None:
    answer = answer_of(raising(RetryAfterError("later", when)), call())

    assert answer.status == 500
    assert answer.headers["Retry-After"] == text
    assert answer.headers["X-Inngest-No-Retry"] == "false"


def steps(body: Callable[[], Any]) -> Function[Any]:
    shop = client()

    async def function(ctx: stepwell.Context) -> Any:
        return await ctx.step.run("charge-card", body)

    return declare(shop, function)


def step_answer(body: Callable[[], Any], request: Request) -> Response:
    return respond(shell(client(), steps(body)), request)


def test_a_step_that_ran() -> None:
    answer = step_answer(lambda: {"charge": "ch_9"}, call())

    assert answer.status == 206
    assert "X-Inngest-No-Retry" not in answer.headers
    [op] = json(answer)
    assert (op["op"], op["id"], op["data"]) == ("StepRun", CHARGE, {"charge": "ch_9"})


def test_a_step_that_is_remembered() -> None:
    answer = step_answer(lambda: 1, call(steps={CHARGE: {"data": "remembered"}}))

    assert (answer.status, json(answer)) == (200, "remembered")


def test_a_step_that_failed_is_tried_again() -> None:
    answer = step_answer(raising(ValueError("x")), call())

    assert answer.status == 206
    assert json(answer)[0]["op"] == "StepError"
    assert "X-Inngest-No-Retry" not in answer.headers


def test_a_step_that_failed_for_good() -> None:
    answer = step_answer(raising(NonRetriableError("x")), call())

    assert answer.status == 206
    assert json(answer)[0]["op"] == "StepFailed"
    assert answer.headers["X-Inngest-No-Retry"] == "true"


def test_a_step_that_names_a_time() -> None:
    answer = step_answer(raising(RetryAfterError("later", 5_000)), call())

    assert answer.status == 206
    assert json(answer)[0]["op"] == "StepError"
    assert answer.headers["Retry-After"] == "5"


def test_a_call_for_a_step_that_is_not_met() -> None:
    answer = step_answer(lambda: 1, call(step_id=hash_step_id("gone", 0)))

    assert answer.status == 500
    assert json(answer)["code"] == "step_unexpected"
    assert answer.headers["X-Inngest-No-Retry"] == "false"


def test_a_call_for_one_step_runs_that_one() -> None:
    answer = step_answer(lambda: 1, call(step_id=CHARGE, disable_immediate_execution=True))

    assert answer.status == 206
    assert json(answer)[0]["op"] == "StepRun"


def test_a_call_that_only_plans() -> None:
    answer = step_answer(lambda: 1, call(disable_immediate_execution=True))

    assert answer.status == 206
    assert json(answer)[0]["op"] == "StepPlanned"


@pytest.mark.parametrize(("request_", "status", "code"), [
    (call("shop-gone"), 500, "function_not_found"),
    (ask(body=call_body()), 400, "call_invalid"),
    (call(body=b""), 400, "call_invalid"),
    (call(body=b"{"), 400, "call_invalid"),
    (call(body=b"[]"), 400, "call_invalid"),
    (call(body=b"{}"), 400, "call_invalid"),
    (call(body=call_body().replace(b'"attempt":0', b'"attempt":"x"')), 400, "call_invalid"),
    (call(body=call_body().replace(b'"steps":{}', b'"steps":[]')), 400, "call_invalid"),
    (call(body=b'{"ctx":' + b"[" * 1_000 + b"]" * 1_000 + b"}"), 400, "call_invalid"),
    (ask(body=b"{}", query="probe=other"), 400, "invalid_request"),
], ids=["function", "query", "empty", "cut", "array", "object", "attempt", "steps", "deep",
        "probe"])  # fmt: skip
def test_a_call_that_cannot_begin(request_: Request, status: int, code: str) -> None:
    answer = respond(shell(client()), request_)

    assert answer.status == status
    assert json(answer)["code"] == code
    assert "stack" not in json(answer)
    assert answer.headers["X-Inngest-No-Retry"] == "false"
    assert answer.headers["X-Inngest-SDK"] == SDK_NAME


def test_an_event_that_is_none_is_a_failed_call(caplog: pytest.LogCaptureFixture) -> None:
    body = call_body().replace(b'"name":"order/paid"', b'"name":5')

    answer = respond(shell(client()), call(body=body))

    assert answer.status == 500
    assert answer.headers["X-Inngest-No-Retry"] == "false"
    assert "could not begin" in caplog.text


def test_a_call_without_a_number_of_attempts_is_left_to_the_server() -> None:
    body = call_body().replace(b'"max_attempts":3,', b"")

    answer = respond(shell(client(), steps(raising(ValueError("x")))), call(body=body))

    assert json(answer)[0]["op"] == "StepError"


@every_way
def test_leaving_by_a_base_exception_is_a_failed_call(answer_of: Any) -> None:
    answer = answer_of(raising(SystemExit(3)), call())

    assert answer.status == 500
    assert json(answer)["name"] == "SystemExit"


@pytest.mark.parametrize("answer_of", [here, here_async])
def test_an_interrupt_is_the_programs(answer_of: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        answer_of(raising(KeyboardInterrupt()), call())


@pytest.mark.parametrize("answer_of", [on_a_loop, here_async])
def test_a_cancellation_that_nobody_asked_for_is_a_failed_call(answer_of: Any) -> None:
    answer = answer_of(raising(asyncio.CancelledError()), call())

    assert answer.status == 500
    assert json(answer)["name"] == "CancelledError"


def test_an_error_that_cannot_be_told_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    class Untellable(Exception):
        @property
        def __traceback__(self) -> Any:  # type: ignore[override]
            raise SystemExit

    answer = on_a_thread(raising(Untellable()), call())

    assert answer.status == 500
    assert json(answer)["code"] == "internal_error"


def test_async_functions_run_on_the_callers_loop_and_sync_ones_beside_it() -> None:
    threads: list[int] = []
    note = lambda: threads.append(threading.get_ident())  # noqa: E731 - one expression

    on_a_loop(note, call())
    on_a_thread(note, call())
    here(note, call())
    here_async(note, call())

    own = threading.get_ident()
    assert [thread == own for thread in threads] == [True, False, True, True]


def test_without_threads_sync_functions_run_on_the_loop() -> None:
    shop = client()
    threads: list[int] = []
    function = declare(shop, lambda ctx: threads.append(threading.get_ident()))

    answer = respond(shell(shop, function, threads_max=0), call())

    assert answer.status == 200
    assert threads == [threading.get_ident()]


def test_a_sync_function_does_not_hold_up_the_loop() -> None:
    shop = client()
    go_on = threading.Event()

    async def story() -> int:
        loop, reached = asyncio.get_running_loop(), asyncio.Event()

        def waits(ctx: stepwell.ContextSync) -> None:
            loop.call_soon_threadsafe(reached.set)
            assert go_on.wait(5.0)

        task = asyncio.create_task(shell(shop, declare(shop, waits)).respond(call()))
        await reached.wait()
        go_on.set()  # comes only if the loop goes on
        return (await task).status

    assert asyncio.run(story()) == 200


def test_a_context_variable_reaches_a_function_on_a_thread() -> None:
    from contextvars import ContextVar

    tenant: ContextVar[str] = ContextVar("tenant")

    async def story() -> Any:
        tenant.set("blue")
        shop = client()
        one = shell(shop, declare(shop, lambda ctx: tenant.get()))
        return json(await one.respond(call()))

    assert asyncio.run(story()) == "blue"


def test_a_cancelled_call_cancels_the_function() -> None:
    seen: list[str] = []

    async def story() -> None:
        shop = client()
        reached = asyncio.Event()

        async def waits(ctx: stepwell.Context) -> None:
            reached.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        task = asyncio.create_task(shell(shop, declare(shop, waits)).respond(call()))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert seen == ["cancelled"]


def test_what_a_function_gets() -> None:
    shop = client()
    seen: list[Any] = []

    async def function(ctx: stepwell.Context) -> None:
        seen.append((ctx.event.name, ctx.event.data, len(ctx.events), ctx.run_id, ctx.attempt))

    respond(shell(shop, declare(shop, function)), call(attempt=1))

    assert seen == [("order/paid", {"total": 12}, 1, "01K7T0BZZZ0000000000000000", 1)]


def test_traces_go_back_as_they_came() -> None:
    trace = "00-4f0c2f5a9d1e4b7e8a6d3c2b1a09f8e7-1122334455667788-01"

    assert respond(shell(client()), call(traceparent=trace)).headers["traceparent"] == trace
    for text in ("x\r\nSet-Cookie: a=b", "x" * 2_000, "\x00"):
        assert "traceparent" not in respond(shell(client()), call(traceparent=text)).headers


def test_failures_stand_in_the_apps_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "stepwell.serve"):
        on_a_loop(raising(ValueError("out of stock")), call())

    [record] = caplog.records
    assert record.name == "stepwell.serve"
    assert (
        "shop-ship failed on attempt 0 and will be tried again, up to 2 more times"
        in record.getMessage()
    )


def test_failure_handlers_are_called_by_their_id() -> None:
    shop = client()
    failing = shop.create_function(fn_id="ship", trigger=TRIGGER, on_failure=lambda ctx: "told")(
        lambda ctx: None
    )

    answer = respond(shell(shop, failing), call("shop-ship-failure"))

    assert (answer.status, json(answer)) == (200, "told")


def test_a_large_call_is_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    one = shell(client(is_production=True))
    threads: list[int] = []
    receive = one.app.receive

    def noted(request: Request, *, now_s: int) -> Any:
        threads.append(threading.get_ident())
        return receive(request, now_s=now_s)

    monkeypatch.setattr(one.app, "receive", noted)
    large = {CHARGE: {"data": "x" * 200_000}}
    import time

    request = ask(body=call_body(large), query="fnId=shop-ship", key=KEY, at_s=int(time.time()))

    assert respond(one, request).status == 200
    assert threads != [threading.get_ident()]


def test_a_forked_process_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = client()
    one = shell(shop, declare(shop, lambda ctx: "ran"))
    assert respond(one, call()).status == 200
    parents = one._runner._pool

    monkeypatch.setattr("stepwell.serve.calls.os.getpid", lambda: -1)  # as in a child

    assert respond(one, call()).status == 200
    assert one._runner._pool is not parents


@pytest.mark.parametrize("answer_of", [on_a_loop, on_a_thread, here])
def test_something_of_ours_that_fails_says_nothing_of_itself(
    answer_of: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr("stepwell.serve.handler.ServedApp.called", broken)

    answer = answer_of(lambda: 1, call())

    assert (answer.status, json(answer)["code"]) == (500, "internal_error")
    assert b"defect" not in answer.body
    assert "a defect of ours" in caplog.text
