"""Requests that the server makes for steps: their outcomes are kept, and none goes on for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell.engine.effects import Request
from stepwell.engine.inputs import RequestReported
from stepwell.engine.rows import HistoryKind, StepKind
from stepwell.errors import LimitExceeded, OutboundError, WireError
from stepwell.server import turns
from stepwell.server.dispatch.step_request import came_infer, wanted_infer
from stepwell.server.dispatch.step_requests import StepRequests
from stepwell.store.interface import HistoryRecord
from stepwell.store.memory import MemoryStore
from stepwell.wire.ids import RequestId, RunId
from stepwell.wire.json import encode
from stepwell.wire.outcomes import Raised
from tests.unit.engine.scenario import op, ops, returned
from tests.unit.server.dispatch.test_http_driver import stage
from tests.unit.server.test_runtime import (
    FailingStore,
    attach,
    run_test,
    running,
    runs,
    send,
    sync,
)

REQUEST = Request(
    request_id=RequestId(b"q" * 16), run_id=RunId(b"r" * 16), step_id="s", seq=0, attempt=0
)


class Reader:
    def history_row(self, _run_id: RunId, seq: int) -> HistoryRecord:
        return HistoryRecord(
            seq=seq,
            at_ms=0,
            kind=HistoryKind.FETCH_STARTED,
            step_id="s",
            name="get",
            attempt=0,
            payload=b'{"url":"http://a"}',
        )

    def request_secrets(self, _run_id: RunId, _seq: int) -> bytes | None:
        return None

    def close(self) -> None:
        self.closed = True


class Engine:
    """The runtime, as those requests know it."""

    def __init__(self) -> None:
        self.reports: asyncio.Queue[RequestReported] = asyncio.Queue()
        self.requester: StepRequests | None = None

    def reader(self) -> Any:
        return Reader()

    def requests_go_to(self, requester: StepRequests | None, /) -> None:
        self.requester = requester

    def renew_lease(self, request_id: RequestId, /) -> None:
        raise AssertionError(request_id)

    def request_reported(self, report: RequestReported, /) -> None:
        self.reports.put_nowait(report)


class Broken:
    """A client with a defect."""

    async def request(self, *_args: Any, **_more: Any) -> Any:
        raise KeyError("planted")

    async def close(self) -> None:
        self.closed = True


class Started:
    """Makes no request: keeps those that are ordered."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[Request] = asyncio.Queue()

    def start(self, request: Request) -> None:
        self.requests.put_nowait(request)

    def withdraw(self, request_id: RequestId) -> None:
        raise AssertionError(request_id)


def test_a_defect_of_the_server_uses_up_an_attempt() -> None:
    async def story() -> None:
        engine = Engine()
        client: Any = Broken()
        async with StepRequests(engine, client, renew_s=60) as requests:
            requests.start(REQUEST)
            async with asyncio.timeout(5):
                report = await engine.reports.get()
        assert report.request_id == REQUEST.request_id
        assert report.error is not None
        assert b"internal_error" in report.error
        assert not report.no_retry

    run_test(story)


def test_a_url_that_cannot_be_read_makes_no_request() -> None:
    options = {"url": "http://[", "auth_key": "k", "format": "gemini"}
    with pytest.raises(WireError) as caught:
        wanted_infer(encode(options))
    assert caught.value.code == "request_invalid"


@pytest.mark.parametrize("status", [200, 400])
def test_a_provider_may_answer_with_anything(status: int) -> None:
    body = b"[" * 100_000 + b"]" * 100_000
    came = came_infer(status=status, body=body)
    assert (came.error is None) == (status == 200)
    assert came_infer(status=status, body=b'{"text":"\\ud83d"}')


def test_what_came_of_a_request_is_not_lost_with_a_failed_commit() -> None:
    async def story() -> None:
        store = FailingStore()
        async with running(store) as runtime:
            requester = Started()
            runtime.requests_go_to(requester)
            await sync(runtime)
            port = attach(runtime)
            await send(runtime)
            call = await port.call()
            fetch = op("Gateway", "get", opts={"url": "http://a"})
            assert await runtime.report(request_id=call.request_id, outcome=ops(fetch))
            async with asyncio.timeout(5):
                request = await requester.requests.get()
            store.failures = 2
            runtime.request_reported(
                RequestReported(
                    request_id=request.request_id,
                    name="get",
                    kind=StepKind.FETCH,
                    data=b"1",
                    error=None,
                )
            )
            call = await port.call()  # the function goes on with the answer
            assert store.failures == 0
            assert requester.requests.empty()
            assert await runtime.report(request_id=call.request_id, outcome=returned())
            (run,) = runs(runtime)
            (step,) = runtime.reader().steps(run.run_id)
            assert step.data == b"1"

    run_test(story)


def test_events_are_refused_while_too_many_must_still_be_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        async with running(MemoryStore()) as runtime:
            await sync(runtime)
            await send(runtime)
            monkeypatch.setattr(turns, "ERRANDS_MAX", 0)
            with pytest.raises(LimitExceeded) as caught:
                await send(runtime)
            assert (caught.value.code, caught.value.status) == ("overloaded", 503)

    run_test(story)


def test_a_defect_in_a_call_over_http_is_a_failed_call() -> None:
    async def story() -> None:
        async with stage() as s:

            async def broken(*_args: Any, **_more: Any) -> Any:
                raise KeyError("planted")

            s.client.request = broken  # type: ignore[method-assign]
            s.post()
            async with asyncio.timeout(5):
                await s.desk.reported.wait()
            (outcome,) = s.desk.outcomes
            assert isinstance(outcome, Raised)
            assert not outcome.fatal
            assert b"internal_error" in outcome.error

    run_test(story)


def test_an_error_does_not_tell_the_providers_key() -> None:
    async def story() -> None:
        engine = Engine()

        class Unreachable(Broken):
            async def request(self, _method: str, url: str, **_more: Any) -> Any:
                raise OutboundError(f"{url} cannot be reached", code="outbound_unreachable")

        client: Any = Unreachable()
        options = {"url": "http://a/x?key=1", "auth_key": "s3/cret", "format": "gemini"}
        async with StepRequests(engine, client, renew_s=60) as requests:
            came = await requests._come(encode(options), infers=True)
        assert came.error is not None
        assert b"http://a/x?key=... cannot be reached" in came.error
        assert b"cret" not in came.error

    run_test(story)
