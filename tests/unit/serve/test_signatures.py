"""Who is let in, who is not, and with which key answers are signed."""

from __future__ import annotations

import msgspec
import pytest

from stepwell.errors import ConfigError
from stepwell.serve.messages import Response
from stepwell.serve.orders import CallOrder
from stepwell.wire.signing import SKEW_S, sign, verify
from tests.unit.serve.served import (
    FALLBACK,
    KEY,
    NOW_S,
    STRANGER,
    ask,
    call,
    call_body,
    client,
    json,
    respond,
    served,
    shell,
)

EXAMPLE_CALL = (
    b'{"ctx":{"attempt":0,"disable_immediate_execution":false,"env":"",'
    b'"fn_id":"5f1d0c0e-7a51-5b0e-8b52-0a4b6c0d9d11","generation_id":1,"job_id":"3k1vd0q2m7",'
    b'"max_attempts":3,"qi_id":"M2sxdmQwcTJtNzo6ZGVmYXVsdA==",'
    b'"request_id":"01K7T0C0000000000000000001","run_id":"01K7T0BZZZ0000000000000000",'
    b'"stack":{"current":0,"stack":[]},"step_id":"step","use_api":false},"defers":{},'
    b'"event":{"data":{"total":12},"id":"01K7T0BX000000000000000000","name":"order/paid",'
    b'"ts":1760000000000,"user":{}},"events":[{"data":{"total":12},'
    b'"id":"01K7T0BX000000000000000000","name":"order/paid","ts":1760000000000,"user":{}}],'
    b'"steps":{},"use_api":false,"version":-1}'
)
EXAMPLE_SIGNATURE = (
    "t=1760000000&s=f1db93b8c06a558ad234478af87c3114b0c0268da751297c0fceab6fd26c9312"
)
EXAMPLE_ANSWER = (
    b'[{"displayName": "charge-card", "id": "b2ae8f272ea660900fca3aeefbd39695c43f5cc9", '
    b'"name": "charge-card", "op": "StepRun", "opts": null, "userland": {"id": "charge-card", '
    b'"index": null}, "data": {"charge": "ch_9"}}]'
)
EXAMPLE_ANSWER_SIGNATURE = (
    "t=1760000001&s=b43f5ca421582d51f9c99da6bbc6b546f7377ffa2a8429591e84cbbae2678a77"
)
QUERY = "fnId=shop-ship&stepId=step"
BARE = {"Content-Type", "Cache-Control", "X-Inngest-SDK-Handled"}


def signed_example(signature: str, body: bytes = EXAMPLE_CALL) -> Response | CallOrder:
    request = ask(body=body, query=QUERY, x_inngest_signature=signature)
    answer = served(client(is_production=True)).receive(request, now_s=NOW_S)
    assert isinstance(answer, Response | CallOrder)
    return answer


def test_the_example_call_is_let_in() -> None:
    assert len(EXAMPLE_CALL) == 636
    order = signed_example(EXAMPLE_SIGNATURE)

    assert isinstance(order, CallOrder)
    assert order.caller.key == KEY
    assert order.run_id == "01K7T0BZZZ0000000000000000"


def test_the_example_answer_is_signed_as_written() -> None:
    assert sign(EXAMPLE_ANSWER, key=KEY, unix_s=NOW_S + 1) == EXAMPLE_ANSWER_SIGNATURE


@pytest.mark.parametrize("change", [
    lambda s: s[:-1] + "3",
    lambda s: s.upper(),
    lambda s: s.replace("t=1760000000&", ""),
    lambda s: s.replace("t=1760000000", "t=1760000001"),
    lambda s: "s=" + s.partition("s=")[2] + "&t=1760000000",
    lambda s: s + "&x=1",
    lambda s: " ",
])  # fmt: skip
def test_another_signature_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    answer = signed_example(change(EXAMPLE_SIGNATURE))

    assert isinstance(answer, Response)
    assert answer.status == 401
    assert json(answer)["code"] == "signature_invalid"
    assert set(answer.headers) == BARE


def test_another_body_is_refused() -> None:
    answer = signed_example(EXAMPLE_SIGNATURE, EXAMPLE_CALL.replace(b"12", b"13"))

    assert isinstance(answer, Response)
    assert answer.status == 401


def test_another_format_of_the_same_body_is_let_in() -> None:
    spaced = msgspec.json.format(EXAMPLE_CALL, indent=2)
    turned = b'{"version":-1,' + EXAMPLE_CALL[1:].replace(b',"version":-1}', b"}")

    assert spaced != EXAMPLE_CALL != turned
    assert isinstance(signed_example(EXAMPLE_SIGNATURE, spaced), CallOrder)
    assert isinstance(signed_example(EXAMPLE_SIGNATURE, turned), CallOrder)


@pytest.mark.parametrize(("offset_s", "status"), [
    (-SKEW_S - 1, 401), (-SKEW_S, 206), (0, 206), (SKEW_S, 206), (SKEW_S + 1, 401),
])  # fmt: skip
def test_a_signature_holds_five_minutes_either_way(offset_s: int, status: int) -> None:
    app = served(client(is_production=True))
    request = ask(body=call_body(), query=QUERY, key=KEY, at_s=NOW_S + offset_s)

    answer = app.receive(request, now_s=NOW_S)

    assert isinstance(answer, CallOrder) == (status == 206)
    if isinstance(answer, Response):
        assert answer.status == status
        assert json(answer)["code"] == "signature_invalid"


@pytest.mark.parametrize("key", [KEY, FALLBACK])
def test_the_answer_is_signed_with_the_key_that_verified(key: str) -> None:
    one = shell(client(is_production=True, fallback=True))
    app = one.app
    order = app.receive(call(key=key), now_s=NOW_S)
    assert isinstance(order, CallOrder)

    answer = app.receive(ask("GET", key=key), now_s=NOW_S)
    assert isinstance(answer, Response)

    header = answer.headers["X-Inngest-Signature"]
    assert verify(answer.body, header, keys=[KEY, FALLBACK], now_s=NOW_S) == key


def test_a_strangers_key_is_refused() -> None:
    answer = served(client(is_production=True, fallback=True)).receive(
        call(key=STRANGER), now_s=NOW_S
    )

    assert isinstance(answer, Response)
    assert (answer.status, json(answer)["code"]) == (401, "signature_invalid")


@pytest.mark.parametrize("request_", [
    call(), ask("GET"), ask("PUT"), ask("POST", query="probe=trust"),
    ask("PUT", x_inngest_sync_kind="in_band"),
], ids=["call", "get", "put", "probe", "in band"])  # fmt: skip
def test_in_production_nothing_goes_without_a_signature(request_) -> None:  # type: ignore[no-untyped-def]
    app = served(client(is_production=True))
    answer = app.refuse(request_)

    assert answer is not None
    assert (answer.status, json(answer)["code"]) == (401, "signature_missing")
    assert set(answer.headers) == BARE
    assert app.receive(request_, now_s=NOW_S) == answer


def test_a_signed_get_does_not_open_a_post() -> None:
    header = sign(b"", key=KEY, unix_s=NOW_S)
    answer = served(client(is_production=True)).receive(
        ask(body=call_body(), query=QUERY, x_inngest_signature=header), now_s=NOW_S
    )

    assert isinstance(answer, Response)
    assert answer.status == 401


def test_in_development_nothing_needs_a_signature() -> None:
    answer = respond(shell(client()), call())

    assert answer.status == 206
    assert "X-Inngest-Signature" not in answer.headers


def test_in_development_a_wrong_signature_does_no_harm() -> None:
    answer = respond(shell(client(signing_key=KEY, is_production=False)), call(key=STRANGER))

    assert answer.status == 206
    assert "X-Inngest-Signature" not in answer.headers


def test_in_production_a_key_is_needed_to_serve_at_all() -> None:
    shop = client()
    shop.settings = msgspec.structs.replace(shop.settings, is_production=True)

    with pytest.raises(ConfigError) as caught:
        served(shop)
    assert caught.value.code == "signing_key_missing"


def test_a_key_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError) as caught:
        served(client(is_production=True, signing_key="signkey-prod-hello"))
    assert caught.value.code == "signing_key_invalid"


@pytest.mark.parametrize("body", [
    b"", b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"1e999", b'{"a":' + b"9" * 400 + b"}",
    b'"\\ud83d"', b'{"a":1}{"b":2}',
])  # fmt: skip
def test_hostile_bodies_are_refused_like_any_other(body: bytes) -> None:
    request = ask(body=body, query=QUERY, x_inngest_signature=f"t={NOW_S}&s={'0' * 64}")
    answer = served(client(is_production=True)).receive(request, now_s=NOW_S)

    assert isinstance(answer, Response)
    assert (answer.status, json(answer)["code"]) == (401, "signature_invalid")
