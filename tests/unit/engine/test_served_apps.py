"""Calls of apps that the server itself makes, over restarts; and apps that are taken out."""

from __future__ import annotations

import msgspec

from stepwell.engine.effects import AppGone, Reply
from stepwell.engine.inputs import AppRemoved
from stepwell.engine.leases import HTTP_INSTANCES
from stepwell.engine.rows import HistoryKind, PutApp, PutHistory
from tests.unit.engine.scenario import Scenario, returned

HOST = f"{HTTP_INSTANCES}localhost:3000"
CONNECTION = f"{HOST}/shop"
GRACE_MS = 15_000
BILL = {"fn": "bill", "triggers": [{"event": "order/billed"}]}


def scenario() -> Scenario:
    """A call is out to a served app, and another to a worker."""
    s = Scenario()
    s.sync({"fn": "ship"}, BILL)
    s.attach("c1", "shop-bill")
    s.attach(CONNECTION, "shop-ship", instance=HOST)
    s.send("order/billed")
    s.send()
    for call in s.calls:
        s.partition.ack(call.request_id)
    return s


def test_a_call_that_went_with_the_server_is_made_again_at_once() -> None:
    s = scenario()
    before = s.call
    assert before.connection_id == CONNECTION
    for restart in range(4):  # three losses of a worker would use an attempt
        s.restart()
        s.attach(CONNECTION, "shop-ship", instance=HOST)
        assert len(s.calls) == 3 + restart
        assert (s.call.run_id, s.call.attempt) == (before.run_id, 0)
        assert s.call.request_id != before.request_id
        s.partition.ack(s.call.request_id)
    lost = [row for row in s.rows(PutHistory) if row.kind is HistoryKind.CALL_LOST]
    assert lost == []
    s.reply(returned())
    assert before.run_id not in s.partition.runs


def test_the_call_of_a_worker_is_kept_for_the_grace_all_the_same() -> None:
    s = scenario()
    s.restart()
    s.attach("c2", "shop-bill")
    assert [call.connection_id for call in s.calls] == ["c1", CONNECTION]
    s.pass_ms(GRACE_MS)
    assert s.calls[-1].connection_id == "c2"


def test_an_app_that_is_taken_out_starts_nothing_more_and_its_runs_go_on() -> None:
    s = scenario()
    s.step(AppRemoved(ticket=1, app_name="shop"))
    assert s.last.effects == [Reply(ticket=1, result=AppGone(found=True))]
    assert s.partition.catalog.apps == {}
    assert s.partition.catalog.functions == []
    calls = len(s.calls)
    s.send()
    assert len(s.calls) == calls
    s.reply(returned())
    s.restart()
    assert s.partition.catalog.apps == {}
    s.step()  # what the restart led to
    s.step(AppRemoved(ticket=2, app_name="shop"))
    assert s.last.effects == [Reply(ticket=2, result=AppGone(found=False))]
    assert s.last.writes == []


def test_an_app_that_comes_back_is_as_before() -> None:
    s = scenario()
    numbers = [entry.no for entry in s.partition.catalog.functions]
    (app,) = s.rows(PutApp)
    s.step(AppRemoved(ticket=1, app_name="shop"))
    s.sync({"fn": "ship"}, BILL)
    assert [entry.no for entry in s.partition.catalog.functions] == numbers
    again = msgspec.structs.replace(s.partition.catalog.apps["shop"], synced_at_ms=0)
    assert again == msgspec.structs.replace(app, synced_at_ms=0)
