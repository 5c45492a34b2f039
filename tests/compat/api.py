"""The server's API as these suites read it: send events, wait for runs, look at steps."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from tests.server_process import poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

RUN_ENDS_S = 30.0
"""How long a run may take that waits for nothing: it takes milliseconds, on busy cores more."""

SHOWN_CHARS_MAX = 5_000

OVER = ("Completed", "Failed", "Cancelled", "Skipped")
_NOT_STEPS = ("Finalization", "Execution")

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    """What the server said. `body` is as it came."""

    status: int
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class StepSeen(msgspec.Struct, frozen=True):
    """One step in a run's trace; `output` as the API shows it."""

    name: str
    op: str
    status: str
    output: Any
    attempts: int
    ended_at: str | None


class Api:
    """One server's API.

    Args:
        url: Asked before each request, so that it may change with a restart.
        signing_key: Sent as a bearer, where the server wants one.
    """

    def __init__(
        self, url: Callable[[], str], *, signing_key: str | None = None, event_key: str = "test"
    ) -> None:
        self._url = url
        self._headers = {} if signing_key is None else {"Authorization": f"Bearer {signing_key}"}
        self._event_key = event_key

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 10.0,
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(urlsplit(self._url()).netloc, timeout=timeout_s)
        try:
            sent = self._headers if headers is None else headers
            connection.request(method, path, body=body, headers=dict(sent))
            response = connection.getresponse()
            return Answer(response.status, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The JSON at a path that must be there."""
        answer = self.request("GET", path)
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.body[:500]!r}"
        return answer.json()

    # --- events ---

    def send(self, name: str, data: Mapping[str, Any] | None = None, **fields: Any) -> str:
        """Send one event; its internal id. It is acknowledged on return."""
        return self.send_all([{"name": name, "data": dict(data or {}), **fields}])[0]

    def send_all(self, events: Iterable[Mapping[str, Any]]) -> list[str]:
        """Send events in one request; their internal ids."""
        answer = self.request("POST", f"/e/{self._event_key}", msgspec.json.encode(list(events)))
        assert answer.status == 200, f"event refused: {answer.status} {answer.body[:500]!r}"
        ids: list[str] = answer.json()["ids"]
        return ids

    # --- runs ---

    def runs_of(self, event_id: str) -> list[dict[str, Any]]:
        """The runs that an event started, as v1 shows them."""
        runs: list[dict[str, Any]] = self.get(f"/v1/events/{event_id}/runs")["data"]
        return runs

    def run(self, run_id: str) -> dict[str, Any]:
        """A run with its output, as v2 shows it."""
        run: dict[str, Any] = self.get(f"/v2/runs/{run_id}?includeOutput=true")["data"]
        return run

    def status(self, event_id: str) -> str:
        """The status of the one run that an event started."""
        (run,) = self.runs_of(event_id)
        status: str = run["status"]
        return status

    def run_id(self, event_id: str) -> str:
        """The id of the one run that an event started."""
        (run,) = self.runs_of(event_id)
        run_id: str = run["run_id"]
        return run_id

    def ended(
        self, event_id: str, *, count: int = 1, timeout_s: float = RUN_ENDS_S
    ) -> list[dict[str, Any]]:
        """Wait until the event's runs are over, `count` of them; as v1 shows them."""

        def look() -> list[dict[str, Any]] | None:
            runs = self.runs_of(event_id)
            over = len(runs) >= count and all(run["status"] in OVER for run in runs)
            return runs if over else None

        runs = wait_for(look, lambda: f"the end of {self._shown(event_id)}", timeout_s=timeout_s)
        assert len(runs) == count, f"event {event_id} started {len(runs)} runs, not {count}"
        return runs

    def wait_until_over(
        self, event_ids: Iterable[str], *, timeout_s: float = RUN_ENDS_S
    ) -> list[dict[str, Any]]:
        """Wait until at least one run was started by these events, and all of them are over."""
        wanted = set(event_ids)

        def look() -> list[dict[str, Any]] | None:
            runs = [run for event_id in wanted for run in self.runs_of(event_id)]
            return runs if runs and all(run["status"] in OVER for run in runs) else None

        return wait_for(look, "the runs of several events to end", timeout_s=timeout_s)

    def completed(self, event_id: str, *, timeout_s: float = RUN_ENDS_S) -> Any:
        """Wait until the event's one run is over; it completed, and this is its output."""
        (run,) = self.ended(event_id, timeout_s=timeout_s)
        assert run["status"] == "Completed", self._shown(event_id)
        return run.get("output")

    def failed(self, event_id: str, *, timeout_s: float = RUN_ENDS_S) -> dict[str, Any]:
        """Wait until the event's one run is over; it failed, and this is the error object."""
        (run,) = self.ended(event_id, timeout_s=timeout_s)
        assert run["status"] == "Failed", self._shown(event_id)
        error: dict[str, Any] = run["output"]
        return error

    def steps(self, run_id: str) -> list[StepSeen]:
        """The steps of a run in the order of its trace."""
        trace = self.get(f"/v2/runs/{run_id}/trace?includeOutput=true")["data"]
        return [
            StepSeen(
                name=span["name"],
                op=span.get("stepOp", ""),
                status=span["status"],
                output=span.get("output"),
                attempts=len(span.get("children", ())),
                ended_at=span.get("endedAt"),
            )
            for span in trace["rootSpan"].get("children", ())
            if span["name"] not in _NOT_STEPS
        ]

    def step_names(self, run_id: str) -> list[str]:
        """The names of a run's steps in the order of its trace."""
        return [step.name for step in self.steps(run_id)]

    def outputs(self, run_id: str) -> dict[str, Any]:
        """The output of each step by name; names must be unique."""
        steps = self.steps(run_id)
        assert len({step.name for step in steps}) == len(steps), f"repeated steps in {steps}"
        return {step.name: step.output for step in steps}

    # --- workers ---

    def workers(self, **fields: str) -> list[dict[str, Any]]:
        """Connections, ended ones too, whose fields have these values."""
        workers = self.get("/v2/workers?all=true&limit=1000").get("data", [])
        return [
            worker
            for worker in workers
            if all(worker.get(name) == value for name, value in fields.items())
        ]

    def _shown(self, event_id: str) -> str:
        """What is known of an event's runs, for messages."""
        runs = self.runs_of(event_id)
        traces = [(run["status"], run.get("output"), self.steps(run["run_id"])) for run in runs]
        text = str(traces)
        return f"the runs of event {event_id}: {text[:SHOWN_CHARS_MAX]}"


def wait_for(
    look: Callable[[], T | None], what: str | Callable[[], str], *, timeout_s: float = 15.0
) -> T:
    """Wait until `look` gives something that is not None, and give it.

    Raises:
        AssertionError: It did not in time; the text is `what`.
    """
    found: list[T] = []

    def condition() -> bool:
        value = look()
        if value is not None:
            found.append(value)
        return value is not None

    text = what if isinstance(what, str) else "it"
    try:
        poll(condition, text, timeout_s=timeout_s)
    except AssertionError:
        if isinstance(what, str):
            raise
        raise AssertionError(f"waited {timeout_s:g} s for {what()}") from None
    return found[0]
