"""Sends events for as long as it is told to, each with a key, again until it is acknowledged."""

from __future__ import annotations

import threading
from random import Random
from typing import TYPE_CHECKING

import msgspec

from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.compat.api import Api

PLAIN = ("chain", "fan", "nap", "flaky", "doomed")
EAGER = ("safe", "safe-sync", "buffered", "eager", "eager-nap")
"""Kinds whose calls go on after a step."""

KINDS = (*PLAIN, *EAGER)
BATCH_MAX = 8
REFUSED_S = 60.0  # A server that is killed is back in a second or two.


class Sent(msgspec.Struct):
    """An event that the soak means to have sent once.

    `ids` are the server's, one for each time that it acknowledged the event.
    """

    key: str
    kind: str
    ids: list[str]


class Load:
    """A thread that keeps so many runs alive.

    An event that is not acknowledged may be stored all the same; the key lets it be sent again
    without a second run. Some are sent again although they were acknowledged.

    Args:
        unfinished: How many of the events that were acknowledged have not ended their runs.
        app_id: The beginning of the events' names.
    """

    def __init__(
        self, api: Api, *, seed: int, app_id: str, alive: int, unfinished: Callable[[int], int]
    ) -> None:
        self.sent: dict[str, Sent] = {}
        self.repeated = 0
        self.unanswered = 0
        self._api = api
        self._random = Random(seed)
        self._app_id = app_id
        self._alive = alive
        self._unfinished = unfinished
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="soak-load", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send no more; all that was sent is acknowledged on return.

        Raises:
            AssertionError: The server refused an event, or was away for too long.
        """
        self._stop.set()
        self._thread.join(2 * REFUSED_S)
        assert not self._thread.is_alive(), "the load does not end"
        if self._error is not None:
            raise self._error

    @property
    def acknowledged(self) -> int:
        """Events that were acknowledged at least once."""
        return len(self.sent)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if self._unfinished(self.acknowledged) < self._alive:
                    self._send(self._batch())
                self._stop.wait(0.02)
        except (AssertionError, OSError) as error:  # told by `stop`
            self._error = error

    def _batch(self) -> list[Sent]:
        first = len(self.sent)
        batch = [
            Sent(key=f"key-{first + n}", kind=self._random.choice(KINDS), ids=[])
            for n in range(self._random.randint(1, BATCH_MAX))
        ]
        if first and self._random.random() < 0.2:
            batch.append(self.sent[f"key-{self._random.randrange(first)}"])
            self.repeated += 1
        return batch

    def _send(self, batch: list[Sent]) -> None:
        events = [
            {"name": f"{self._app_id}/{sent.kind}", "id": sent.key, "data": {}} for sent in batch
        ]
        ids: list[str] = []

        def acknowledged() -> bool:
            self.unanswered += 1
            ids.extend(self._api.send_all(events))
            self.unanswered -= 1
            return True

        poll(acknowledged, "an event to be acknowledged", timeout_s=REFUSED_S)
        for sent, event_id in zip(batch, ids, strict=True):
            sent.ids.append(event_id)
            self.sent[sent.key] = sent
