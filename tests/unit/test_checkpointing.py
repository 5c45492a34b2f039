"""The options of checkpointing, on functions and clients."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stepwell import Client, Context, TriggerEvent
from stepwell.checkpointing import (
    BLENDED,
    PERFORMANT,
    SAFE,
    Checkpointing,
    read_checkpointing,
)
from stepwell.errors import ConfigError


@pytest.mark.parametrize(
    ("option", "config"),
    [
        (None, None),
        (False, None),
        (True, SAFE),
        ("safe", SAFE),
        ("blended", BLENDED),
        ("performant", PERFORMANT),
        (BLENDED, BLENDED),
    ],
)
def test_options(option: Any, config: Checkpointing | None) -> None:
    assert read_checkpointing(option) == config


@pytest.mark.parametrize("option", ["fast", 1, 0, {}, "SAFE"])
def test_other_options_are_refused(option: Any) -> None:
    with pytest.raises(ConfigError, match="checkpointing is"):
        read_checkpointing(option)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("buffered_steps", 0),
        ("buffered_steps", 1_001),
        ("buffered_steps", True),
        ("buffered_steps", 1.5),
        ("max_bytes", 0),
        ("max_bytes", 4 * 2**20 + 1),
        ("max_interval", -1),
        ("max_interval", 0.5),
        ("max_interval", timedelta(seconds=-1)),
        ("max_runtime", "10s"),
        ("max_runtime", -1),
    ],
)
def test_values_that_cannot_be_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        Checkpointing(**{field: value})


def test_durations_are_milliseconds_or_a_timedelta() -> None:
    config = Checkpointing(max_interval=timedelta(seconds=2), max_runtime=5_000)

    assert (config.max_interval_ms, config.max_runtime_ms(1)) == (2_000, 5_000)
    assert SAFE.max_runtime_ms(7) == 7
    assert Checkpointing(max_runtime=0).max_runtime_ms(7) == 0


def declared(client: Client, **options: Any) -> Any:
    @client.create_function(fn_id="f", trigger=TriggerEvent(event="e"), **options)
    async def function(ctx: Context) -> None: ...

    return function


def test_function_goes_by_itself_then_by_its_client() -> None:
    plain = Client(app_id="shop", is_production=False)
    blended = Client(app_id="shop", is_production=False, checkpointing="blended")

    assert declared(plain).checkpointing is None
    assert declared(blended).checkpointing == BLENDED
    assert declared(blended, checkpointing=False).checkpointing is None
    assert declared(plain, checkpointing=True).checkpointing == SAFE


def test_what_a_server_is_told() -> None:
    assert SAFE.configuration() == {"batch_steps": 1}
    assert BLENDED.configuration() == {"batch_steps": 3, "batch_interval": "3s"}
    assert Checkpointing(max_runtime=90_000).configuration()["max_runtime"] == "1m30s"
