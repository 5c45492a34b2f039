"""Calls that come to a worker between its saying that it is ready and its being so."""

from __future__ import annotations

from stepwell.server.gateway.facts import Unheard
from stepwell.server.gateway.session import ACK_AFTER_PONG_MS, FRESH_MS
from tests.unit.server.gateway.messages import HEARTBEAT, READY, REQUEST_ID, ack
from tests.unit.server.gateway.test_session import Story, ready

OTHER_ID = "01K7T0C0000000000000000002"


def just_ready() -> Story:
    story = ready(worker_manual_readiness_ack=True)
    story.send(READY)
    story.facts()
    return story


def pinged(story: Story) -> bool:
    output = story.output()
    return output is not None and output.ping


def test_a_ping_follows_a_call_to_a_worker_that_is_just_ready() -> None:
    story = just_ready()
    story.session.send_call(REQUEST_ID, b"call")
    output = story.output()
    assert output is not None
    assert (len(output.messages), output.ping) == (1, True)


def test_a_call_that_was_read_and_not_acknowledged_is_given_up() -> None:
    story = just_ready()
    story.session.send_call(REQUEST_ID, b"call")
    story.output()
    story.session.receive_pong(story.now_ms)
    story.wait(ACK_AFTER_PONG_MS - 1)
    assert story.facts() == []
    story.wait(1)
    assert story.facts() == [Unheard(request_id=REQUEST_ID)]
    story.wait(ACK_AFTER_PONG_MS)
    assert story.facts() == [], "once"


def test_one_that_was_acknowledged_is_not() -> None:
    story = just_ready()
    story.session.send_call(REQUEST_ID, b"call")
    story.output()
    story.session.receive_pong(story.now_ms)
    story.send(ack())
    story.facts()
    story.wait(ACK_AFTER_PONG_MS)
    assert story.facts() == []


def test_without_a_pong_the_worker_may_not_have_read_it() -> None:
    story = just_ready()
    story.session.send_call(REQUEST_ID, b"call")
    story.output()
    story.wait(5 * ACK_AFTER_PONG_MS)
    assert story.facts() == []


def test_a_call_behind_the_ping_waits_for_the_next_one() -> None:
    story = just_ready()
    story.session.send_call(REQUEST_ID, b"call")
    assert pinged(story)
    story.session.send_call(OTHER_ID, b"call")
    assert not pinged(story), "one at a time"
    story.session.receive_pong(story.now_ms)
    assert pinged(story)
    story.wait(ACK_AFTER_PONG_MS)
    assert story.facts() == [Unheard(request_id=REQUEST_ID)]
    story.session.receive_pong(story.now_ms)
    story.wait(ACK_AFTER_PONG_MS)
    assert story.facts() == [Unheard(request_id=OTHER_ID)]


def test_after_a_while_the_worker_is_trusted() -> None:
    story = just_ready()
    story.wait(FRESH_MS)
    story.send(HEARTBEAT)
    story.output()
    story.session.send_call(REQUEST_ID, b"call")
    assert not pinged(story)


def test_other_workers_are_trusted_at_once() -> None:
    story = ready()
    story.session.send_call(REQUEST_ID, b"call")
    assert not pinged(story)


def test_a_pong_that_nobody_asked_for_means_nothing() -> None:
    story = just_ready()
    story.session.receive_pong(story.now_ms)
    story.wait(ACK_AFTER_PONG_MS)
    assert story.facts() == []
