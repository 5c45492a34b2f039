"""The envelope of a streamed answer, as the server reads it."""

from __future__ import annotations

import pytest

from stepwell.serve.messages import Response
from stepwell.serve.streaming import HEARTBEAT, STREAM_HEADERS, envelope
from stepwell.wire.http_calls import Answer, outcome_from_http
from stepwell.wire.outcomes import Raised, Returned


def read(response: Response):  # type: ignore[no-untyped-def]
    headers = {name.lower(): text for name, text in STREAM_HEADERS.items()}
    body = HEARTBEAT * 3 + envelope(response)
    return outcome_from_http(Answer(status=201, headers=headers, body=body), now_ms=0)


@pytest.mark.parametrize(
    "body", [b"null", b"7", b'{"a":1}', b"[1]", b'"text"', b'"7"', b'"\\"x\\""']
)
def test_a_result_is_what_it_was(body: bytes) -> None:
    outcome = read(Response(status=200, headers={}, body=body))

    assert isinstance(outcome, Returned)
    assert outcome.output == body


def test_an_error_keeps_its_headers() -> None:
    outcome = read(
        Response(
            status=400, headers={"X-Inngest-No-Retry": "true"}, body=b'{"name":"E","message":"m"}'
        )
    )

    assert isinstance(outcome, Raised)
    assert outcome.no_retry
