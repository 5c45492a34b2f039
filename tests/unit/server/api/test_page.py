"""The pages for browsers: right, readable, and harmless whatever is shown on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stepwell.engine.rows import HistoryKind, RunStatus, StepKind
from stepwell.server.api.html import Markup, element, escaped, table
from stepwell.server.api.page import OUTPUT_CHARS_MAX
from stepwell.server.workers import WorkerStatus
from tests.unit.server.api.bench import open_api
from tests.unit.server.api.rest_v2.test_workers import INFO
from tests.unit.server.api.rows import (
    APP,
    SHOP,
    T0_MS,
    ended,
    event_id,
    history,
    put_event,
    put_function,
    put_run,
    run_id,
    running,
    step,
    text,
)
from tests.unit.server.loop import on_loop

if TYPE_CHECKING:
    from stepwell.engine.rows import Write

EVIL = "<script>alert(1)</script>"
RUN = f"/runs/{text(run_id(1))}"


@on_loop
async def test_an_empty_server_says_what_to_do() -> None:
    async with open_api() as api:
        answer = await api.get("/")
        assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        for sentence in (b"No app yet", b"No worker is connected", b"No run yet"):
            assert sentence in answer.body


@on_loop
async def test_the_overview_lists_apps_workers_and_runs() -> None:
    async with open_api([*SHOP, put_event(), put_run(), ended()]) as api:
        api.book.connected(INFO)
        page = (await api.get("/")).body.decode()
        for words in ("shop", "refund, ship", "box-7", text(run_id(1)), "completed", "1000 ms"):
            assert words in page


@on_loop
async def test_the_overview_counts_workers_and_shows_those_that_take_calls_first() -> None:
    async with open_api(SHOP) as api:
        for number, status in enumerate(("DRAINING", "READY", "CONNECTED")):
            info = msgspec.structs.replace(
                INFO,
                connection_id=f"01K7T09A4B000000000000001{number}",
                instance_id=f"box-{status}",
                status=WorkerStatus(status),
            )
            api.book.connected(info)
        left = msgspec.structs.replace(INFO, instance_id=EVIL, disconnect_reason=EVIL)
        api.book.connected(left)
        api.book.disconnected(left.connection_id, left.connected_at_ms + 1_000)
        page = (await api.get("/")).body.decode()
        assert "1 active, 2 inactive" in page
        assert "0 of 3" in page, "calls that it has, of those that it takes"
        assert page.index("box-READY") < page.index("box-DRAINING") < page.index("that left")
        assert page.index("that left") < page.index("&lt;script&gt;alert(1)&lt;/script&gt;")
        assert EVIL not in page


@on_loop
async def test_pages_load_nothing_and_run_nothing() -> None:
    async with open_api([*SHOP, put_event(), put_run()]) as api:
        for path in ("/", RUN):
            answer = await api.get(path)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; style-src 'sha256-")
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["cache-control"] == "no-store"
            assert b"<script" not in answer.body


@on_loop
async def test_a_run_shows_its_steps_and_outputs() -> None:
    failed = history(0, HistoryKind.ATTEMPT_FAILED, step_id=f"{0:040x}", payload=b'{"m":"no"}')
    rows: list[Write] = [*SHOP, put_event(), put_run(), running(), failed, step(attempt=1), ended()]
    async with open_api(rows) as api:
        page = (await api.get(RUN)).body.decode()
        for words in ("charge", "Attempt 0", "Attempt 1", "{&quot;n&quot;:1}", "Finalization"):
            assert words in page
        assert "http-equiv" not in page  # it is over: nothing will change


@on_loop
async def test_a_run_that_goes_on_is_loaded_again() -> None:
    async with open_api([*SHOP, put_event(), put_run(), running()]) as api:
        assert b'<meta http-equiv="refresh" content="2">' in (await api.get(RUN)).body


@on_loop
async def test_a_run_that_waits_says_for_what() -> None:
    async with open_api([APP, put_function()]) as api:
        await api.post("/e/x", b'{"name":"shop/order.paid"}')
        (run,) = api.store.reader().runs(limit=2)
        for path in ("/", f"/runs/{text(run.run_id)}"):
            page = (await api.get(path)).body.decode()
            assert "Waits: no connected worker has shop-ship" in page


@on_loop
async def test_runs_of_archived_functions_are_marked() -> None:
    gone = put_function(3, "shop-old", archived_at_ms=T0_MS)
    async with open_api([*SHOP, gone, put_event(), put_run(function_no=3), ended()]) as api:
        for path in ("/", RUN):
            page = (await api.get(path)).body.decode()
            assert "shop-old" in page
            assert "(archived)" in page


@on_loop
async def test_a_run_shows_the_event_that_started_it() -> None:
    async with open_api([*SHOP, put_event(), put_run(), ended()]) as api:
        page = (await api.get(RUN)).body.decode()
        for words in ("shop/order.paid", text(event_id(1)), "{&quot;order&quot;:7}"):
            assert words in page


@on_loop
async def test_an_error_shows_its_stack_line_by_line() -> None:
    error = b'{"name":"CardError","message":"<no>","stack":"Traceback\\n  File \\"a.py\\""}'
    rows: list[Write] = [
        *SHOP, put_event(), put_run(),
        step(kind=StepKind.FAILED, data=error),
        ended(status=RunStatus.FAILED, output=b'"only text"'),
    ]  # fmt: skip
    async with open_api(rows) as api:
        page = (await api.get(RUN)).body.decode()
        assert '<div class="error">CardError: &lt;no&gt;</div>' in page
        assert "<pre>Traceback\n  File &quot;a.py&quot;</pre>" in page
        assert "<pre>&quot;only text&quot;</pre>" in page


@on_loop
async def test_nothing_that_is_shown_can_act() -> None:
    output = ('{"x":"' + EVIL + '"}').encode()
    rows: list[Write] = [
        *SHOP, put_event(), put_run(), step(name=EVIL, data=output),
        ended(status=RunStatus.FAILED, output=output),
    ]  # fmt: skip
    async with open_api(rows) as api:
        assert EVIL.encode() not in (await api.get(RUN)).body
        answer = await api.get("/runs/%3Cscript%3E")
        assert answer.status == 400
        assert b"<script>" not in answer.body


@on_loop
async def test_a_large_output_is_shown_in_part() -> None:
    output = b'"' + b"y" * (10 * OUTPUT_CHARS_MAX) + b'"'
    async with open_api([*SHOP, put_event(), put_run(), ended(output=output)]) as api:
        body = (await api.get(RUN)).body
        assert len(body) < 4 * OUTPUT_CHARS_MAX
        assert "…".encode() in body


@on_loop
async def test_an_unknown_run_has_a_page_that_says_so() -> None:
    async with open_api() as api:
        answer = await api.get("/runs/01K7T09A4B0000000000000000")
        assert answer.status == 404
        assert b"There is no such run." in answer.body


def test_text_is_escaped_and_markup_is_not() -> None:
    assert escaped(EVIL) == "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert escaped(None) == ""
    assert element("a", Markup("<b>"), "<", href='"x"') == '<a href="&quot;x&quot;"><b>&lt;</a>'
    assert table(["A"], [["b"]], empty="") == (
        "<table><thead><tr><th>A</th></tr></thead>"
        '<tbody><tr><td data-head="A">b</td></tr></tbody></table>'
    )
    assert table(["A"], [], empty="None yet") == '<p class="none">None yet</p>'
