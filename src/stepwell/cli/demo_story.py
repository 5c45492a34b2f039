"""The names and the event that the demo's two processes share."""

from __future__ import annotations

from typing import Any

APP = "demo"
FUNCTION = "place-order"
EVENT = "demo/order.placed"

ORDER: dict[str, Any] = {
    "number": 1042,
    "city": "Lisbon",
    "lines": [{"item": "teapot", "quantity": 1, "cents": 4200},
              {"item": "cup", "quantity": 4, "cents": 650}],
}  # fmt: skip
