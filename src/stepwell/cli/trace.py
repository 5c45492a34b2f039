"""Follows a run's trace: what was committed since the last look, in the order of the commits.

Everything here comes from the server's stored rows (`GET /v2/runs/{id}/trace`), so a line is shown
only for what would survive a crash of the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from stepwell.cli.text import duration, error_stack, error_text, parse_time_ms, plain, waiting_text

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "SKIPPED"})
LOST_CALL = "Lost call"


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the server stored about a run.

    Attributes:
        at_ms: When, in milliseconds since the epoch.
        kind: `attempt` is one that failed and is tried again; `lost` a call whose worker vanished.
            `wait` is for an event, `fetch` and `ai` are requests that the server made.
        name: The step's id as the user wrote it; empty for the function's own body.
        status: As the API spells it.
        took_ms: How long the step or sleep took, if the trace says.
        about: The event or signal that was waited for, or the function that was invoked.
        run_id: The run of that function.
        timed_out: It waited in vain.
        attempt: Which attempt this was, from 0, as `ctx.attempt` counts; a lost call is none.
        error: Why it failed, on one line.
        stack: Where, as the SDK sent it; empty if it sent none.
    """

    at_ms: int
    kind: Literal["step", "sleep", "wait", "signal", "invoke", "fetch", "ai", "attempt", "lost"]
    name: str
    status: str
    took_ms: int | None = None
    about: str = ""
    run_id: str = ""
    timed_out: bool = False
    attempt: int = 0
    error: str = ""
    stack: str = ""

    def line(self, since_ms: int) -> str:
        """This commit for people, with its time counted from `since_ms`."""
        what = self.name or "(function)"
        when = f"+{max(0, self.at_ms - since_ms) / 1000:8.3f} s"
        match self.kind:
            case "attempt":
                word, note = "failed", f"attempt {self.attempt}: {self.error}"
            case "lost":
                word, note = "lost", "its worker went away; the same attempt goes to another"
            case "wait" | "signal" if self.timed_out:
                word, what_came = "timed out", "event" if self.kind == "wait" else "signal"
                note = f"no {what_came} came in {duration(self.took_ms)}  {self.about}"
            case _:
                word, note = self.status.lower(), duration(self.took_ms)
                for more in (self.about, self.run_id and f"run {self.run_id}"):
                    note += f"  {more}" if more else ""
                if self.attempt:
                    note += f"  (attempt {self.attempt})"
                if self.error:
                    note += f"  {self.error}"
        return f"{when}  {self.kind:<7}  {what:<24}  {word:<9}  {note}".rstrip()


class TraceFollower:
    """Remembers what it has told."""

    def __init__(self) -> None:
        self._told: set[tuple[object, ...]] = set()

    def commits(self, root: dict[str, Any]) -> list[Commit]:
        """What this trace has that no earlier one had.

        Args:
            root: The `rootSpan` of a trace that was asked for with `includeOutput=true`.
        """
        found = [commit for span in root.get("children", []) for commit in self._of(span)]
        return sorted(found, key=lambda commit: commit.at_ms)

    def _of(self, span: dict[str, Any]) -> Iterator[Commit]:
        is_step = "stepId" in span
        ended = span.get("endedAt")
        name = plain(span.get("name", "")) if is_step else ""
        attempt = 0
        for child in span.get("children", []):
            lost = child["name"] == LOST_CALL
            if not lost:
                attempt = int(child["name"].rpartition(" ")[2])
            at = child.get("endedAt")
            if at is None or child.get("status") != "FAILED":
                continue
            is_last = at == ended and span.get("status") == "FAILED"
            if is_last or not self._is_new_attempt(span.get("stepId"), child["name"], at):
                continue
            yield Commit(
                at_ms=parse_time_ms(at) or 0,
                kind="lost" if lost else "attempt",
                name=name,
                status="FAILED",
                attempt=attempt,
                error=error_text(child.get("output")),
                stack=error_stack(child.get("output")),
            )
        status = span.get("status", "")
        if is_step and ended and status in ENDED and self._is_new(span["id"]):
            took = span.get("durationMs")
            info = span.get("stepInfo", {})
            yield Commit(
                at_ms=parse_time_ms(ended) or 0,
                kind=_kind(span),
                about=_about(info),
                run_id=info.get("runId", ""),
                timed_out=info.get("timedOut", False),
                name=name,
                status=status,
                took_ms=None if took is None else int(took),
                attempt=attempt,
                error=error_text(span.get("output")) if status == "FAILED" else "",
                stack=error_stack(span.get("output")) if status == "FAILED" else "",
            )

    def _is_new_attempt(self, step_id: str | None, name: str, at: str) -> bool:
        """A failed attempt of the function's body moves to the step that the next one finds."""
        if step_id is not None and (None, name, at) in self._told:
            return False
        return self._is_new(step_id, name, at)

    def _is_new(self, *key: object) -> bool:
        new = key not in self._told
        self._told.add(key)
        return new


_KINDS: Final[dict[str, Literal["wait", "signal", "invoke", "fetch", "ai"]]] = {
    "event": "wait",
    "signal": "signal",
    "invoke": "invoke",
    "fetch": "fetch",
    "ai": "ai",
}


def _kind(
    span: dict[str, Any],
) -> Literal["step", "sleep", "wait", "signal", "invoke", "fetch", "ai"]:
    if span.get("stepOp") == "SLEEP":
        return "sleep"
    return _KINDS.get(span.get("stepInfo", {}).get("kind"), "step")


def _about(info: dict[str, Any]) -> str:
    about = info.get("event") or info.get("signal") or info.get("function") or ""
    condition = info.get("if")
    return plain(f"{about} if {condition}" if condition else about)


def progress(root: dict[str, Any], now_ms: int, waiting: dict[str, Any] | None = None) -> str:
    """What a run that is not over is doing now, for a status line.

    Args:
        waiting: Of the run object: what the run cannot go on without.
    """
    waits = waiting_text(waiting, now_ms) if waiting else ""
    if waiting and waiting.get("reason") not in ("retry", "sleep"):
        return waits
    if root.get("status") == "QUEUED":
        return "queued"
    doing = []
    for span in root.get("children", []):
        if span.get("status") in ENDED:
            continue
        name = plain(span.get("name", ""))
        until = parse_time_ms(span.get("sleepUntil"))
        if until is not None:
            doing.append(f"{name} sleeps, {duration(max(0, until - now_ms))} to go")
        elif any(child.get("status") == "FAILED" for child in span.get("children", [])):
            doing.append(f"{name} failed and is tried again")
        else:
            doing.append(name)
    if waiting and waiting.get("reason") == "retry":
        doing.append(waits)
    return "; ".join(doing) or waits or "running"
