"""`GET /dev`."""

from __future__ import annotations

from pathlib import Path

from stepwell.version import __version__
from stepwell.wire.ids import function_uuid
from tests.unit.server.api.bench import open_api
from tests.unit.server.api.rows import SHOP
from tests.unit.server.loop import on_loop


@on_loop
async def test_a_dev_server_says_what_it_is_and_has() -> None:
    data_dir = Path("/data")
    async with open_api(SHOP, data_dir=data_dir, retry_interval_ms=1_000) as api:
        info = (await api.get("/dev")).json
        assert info["version"] == __version__
        options = info["startOpts"]
        assert (options["persist"], options["dir"]) == (True, "/data")
        assert options["connectGatewayPort"] == 8289
        assert repr(options["retry_interval"]) == "1"
        ship, _refund = info["functions"]
        assert (ship["slug"], ship["name"], ship["fv"]) == ("shop-ship", "shop-ship", 1)
        assert ship["id"] == function_uuid("shop", "shop-ship")
        assert ship["triggers"] == [{"event": "shop/order.paid"}]


@on_loop
async def test_a_server_in_memory_says_that_it_keeps_nothing() -> None:
    async with open_api(in_memory=True, retry_interval_ms=500) as api:
        options = (await api.get("/dev")).json["startOpts"]
        assert (options["persist"], options["dir"]) == (False, "")
        assert options["retry_interval"] == 0.5
