"""HTTP 52: values that only the app can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.compat.recording import step_hash
from tests.compat.scenario import Shows

if TYPE_CHECKING:
    from tests.compat.running_app import RunningApp

SHOWS = Shows(
    number="h52",
    behaviour="encrypted envelopes pass through events, memos, results unchanged",
)


ENVELOPE = {
    "__ENCRYPTED__": True,
    "__STRATEGY__": "inngest/libsodium",
    "data": "Zm9yIHRoZSBhcHAncyBleWVzIG9ubHk=",
}


def test_encrypted(app: RunningApp) -> None:
    event_id = app.send("echo", {"value": ENVELOPE, "encrypted": ENVELOPE})

    assert app.api.completed(event_id) == ENVELOPE

    for call in app.calls(event_id):
        assert call.body["event"]["data"]["encrypted"] == ENVELOPE
    memos = [call.body["steps"] for call in app.calls(event_id) if call.body["steps"]]
    assert memos in ([{step_hash("echo"): {"data": ENVELOPE}}], [])
    assert app.api.outputs(app.api.run_id(event_id)) == {"echo": ENVELOPE}
