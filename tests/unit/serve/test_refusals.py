"""What the app's log says of signatures that are missing or wrong."""

from __future__ import annotations

import logging

import pytest

from stepwell.errors import AuthError
from stepwell.serve.refusals import INTERVAL_S, RefusalLog
from stepwell.wire.signing import SKEW_S
from tests.unit.serve.served import (
    KEY,
    NOW_S,
    STRANGER,
    ask,
    call,
    call_body,
    client,
    respond,
    served,
    shell,
)

MISSING = AuthError("no header", code="signature_missing")
WRONG = AuthError("another key", code="signature_invalid")
EXPIRED = ask(body=call_body(), query="fnId=shop-ship", key=KEY, at_s=NOW_S - SKEW_S - 1)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (call(), ["a POST was refused", "no X-Inngest-Signature", "STEPWELL_DEV=1"]),
        (ask("PUT"), ["a PUT was refused", "serve_origin="]),
        (call(key=STRANGER), ["not made with a known key", "STEPWELL_SIGNING_KEY"]),
        (EXPIRED, ["301 s old", "check both clocks"]),
    ],
    ids=["missing", "missing of a sync", "wrong", "expired"],
)
def test_signature_that_is_refused_is_one_warning(caplog, request_, said) -> None:  # type: ignore[no-untyped-def]
    app = served(client(is_production=True))

    for _ in range(3):
        app.receive(request_, now_s=NOW_S)

    [record] = caplog.records
    assert (record.name, record.levelno) == ("stepwell.serve", logging.WARNING)
    assert [part for part in said if part not in record.getMessage()] == []


def test_what_is_let_in_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    respond(shell(client(signing_key=KEY)), call(key=STRANGER))
    served(client(is_production=True)).receive(call(key=KEY), now_s=NOW_S)

    assert caplog.records == []


def test_each_reason_is_told_again_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    times = iter([0.0, 1.0, 2.0, 3.0, 4.0, INTERVAL_S])
    log = RefusalLog(logging.getLogger("stepwell.serve"), clock=lambda: next(times))

    for method, error in [
        ("POST", MISSING),
        ("POST", MISSING),
        ("POST", WRONG),
        ("PUT", MISSING),
        ("POST", MISSING),
        ("POST", MISSING),
    ]:
        log.tell(method, error)

    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "a POST was refused: no header",
        "a POST was refused: another key",
        "a PUT was refused: no header",
        "a POST was refused: no header",
    ]
    assert caplog.records[3].getMessage().endswith("(2 more like it before)")
