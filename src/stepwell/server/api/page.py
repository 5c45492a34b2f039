"""`GET /` and `/runs/{id}`: what the server is doing, for a browser, until the dashboard exists."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from starlette.routing import Route

from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.errors import read_error
from stepwell.server.api.functions import bare_id
from stepwell.server.api.html import Markup, element, escaped, page, table
from stepwell.server.api.responses import iso
from stepwell.server.api.timeline import FAILED, RUN_STATUS, build_tree
from stepwell.server.lifecycle import event_data
from stepwell.server.workers import WorkerStatus
from stepwell.version import __version__
from stepwell.wire.ids import ulid_ms, ulid_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from stepwell.server.api.context import Context
    from stepwell.server.api.timeline import Span
    from stepwell.server.workers import WorkerInfo
    from stepwell.store.interface import RunRecord

RUNS_SHOWN = 50
WORKERS_SHOWN = 100
LEFT_SHOWN = 20
OUTPUT_CHARS_MAX = 4_000  # A page shows the beginning; the API has the whole.
REFRESH_S = 2
ARCHIVED = "No worker registers this function any more: events do not start it."


class Pages:
    """Rendered on the server, refreshed by the browser."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        return [Route("/", self.overview), Route("/runs/{run_id}", self.run)]

    async def overview(self, _request: Request) -> Response:
        catalog = self._context.runtime.catalog
        workers = [info for info in self._context.book.list() if info.is_live]
        workers.sort(key=lambda info: (not info.is_active, -info.connected_at_ms))
        left = self._context.worker_history.list(
            self._context.reader, statuses=(WorkerStatus.DISCONNECTED,), limit=LEFT_SHOWN
        )
        counts = _counts(workers)
        apps = [
            (
                name,
                app.method,
                app.sdk,
                app.app_version,
                ", ".join(
                    sorted(bare_id(entry) for entry in catalog.functions if entry.app_name == name)
                ),
                counts.get(name, ""),
                _time(app.synced_at_ms),
            )
            for name, app in sorted(catalog.apps.items())
        ]
        runs = self._context.reader.runs(limit=RUNS_SHOWN)
        return page(
            "Stepwell",
            element("h1", f"Stepwell {__version__}"),
            element("h2", "Apps"),
            table(
                ("App", "Method", "SDK", "Version", "Functions", "Workers", "Synced"),
                apps,
                empty="No app yet. Start a worker; it registers its functions by itself.",
            ),
            element("h2", "Workers"),
            _shown_of(workers),
            table(
                (
                    "Instance",
                    "Apps",
                    "Status",
                    "Load",
                    "Done",
                    "SDK",
                    "Machine",
                    "Connected",
                    "Heard",
                ),
                (self._worker_row(info) for info in workers[:WORKERS_SHOWN]),
                empty="No worker is connected.",
            ),
            *_left(left),
            element("h2", "Recent runs"),
            table(
                ("Run", "Function", "Event", "Status", "Queued", "Took"),
                (self._run_row(run) for run in runs),
                empty="No run yet. Send an event: stepwell send NAME '{}'",
            ),
            refresh_s=REFRESH_S,
        )

    async def run(self, request: Request) -> Response:
        try:
            run = self._context.reader.run(queries.run_id(request.path_params["run_id"]))
        except WireError as error:
            return _nothing(error.message, 400)
        if run is None:
            return _nothing("There is no such run.", 404)
        reader = self._context.reader
        root = build_tree(run, reader.steps(run.run_id), reader.history(run.run_id))
        rows = [
            (
                element("span", Markup("&emsp;" * depth), span.name),
                _status(span.status),
                _time(span.started_at_ms) or _time(span.queued_at_ms),
                _took(span.duration_ms),
                _output(span),
            )
            for span, depth in _walk(root)
        ]
        return page(
            f"Run {ulid_text(run.run_id)}",
            element("p", element("a", "All runs", href="/")),
            element("h1", self._function_name(run), " ", _status(root.status)),
            element("p", element("code", ulid_text(run.run_id))),
            self._waiting(run),
            _cancelled_by(root),
            table(("Step", "Status", "Began", "Took", "Output"), rows, empty=""),
            element("h2", "Event"),
            *self._event(run),
            refresh_s=None if run.status.is_over else REFRESH_S,
        )

    def _waiting(self, run: RunRecord) -> Markup:
        """Why a run that is not over does not go on."""
        if run.status.is_over:
            return Markup("")
        waiting = self._context.runtime.waiting(run.run_id, run.function_no)
        if waiting is None:
            return Markup("")
        until = "" if waiting.until_ms is None else f", until {_time(waiting.until_ms)}"
        return element("div", f"Waits: {waiting.text}{until}", class_="WAITING")

    def _event(self, run: RunRecord) -> tuple[Markup, ...]:
        event = self._context.reader.event(run.event_id)
        if event is None:
            return (element("p", "It is not stored any more.", class_="none"),)
        data = event_data(event, self._context.reader, self._context.runtime.catalog)
        return (
            element("p", event.name, " ", element("code", ulid_text(event.event_id))),
            element("pre", _beginning(data)),
        )

    def _worker_row(self, info: WorkerInfo) -> tuple[object, ...]:
        load = self._context.runtime.load(info.connection_id, info.instance_id)
        return (
            info.instance_id,
            _apps(info),
            _status(info.status.value),
            f"{load.calls} of {info.max_worker_concurrency or 'no limit'}",
            info.calls_done,
            f"{info.sdk_language} {info.sdk_version}",
            _machine(info),
            _time(info.connected_at_ms),
            _time(info.last_heartbeat_ms),
        )

    def _run_row(self, run: RunRecord) -> tuple[object, ...]:
        run_id = ulid_text(run.run_id)
        took = None
        if run.started_at_ms is not None and run.ended_at_ms is not None:
            took = run.ended_at_ms - run.started_at_ms
        event = self._context.reader.event(run.event_id)
        return (
            element("a", element("code", run_id), href=f"/runs/{run_id}"),
            self._function_name(run),
            event.name if event else "",
            Markup(_status(RUN_STATUS[run.status]) + self._waiting(run)),
            _time(ulid_ms(run.run_id)),
            _took(took),
        )

    def _function_name(self, run: RunRecord) -> Markup:
        function = self._context.runtime.catalog.by_no(run.function_no)
        if function is None:
            return escaped("unknown function")
        archived = function.archived_at_ms is not None
        note = element("small", " (archived)", class_="note", title=ARCHIVED) if archived else ""
        return Markup(escaped(function.slug) + note)


def _nothing(text: str, status: int) -> Response:
    link = element("p", element("a", "All runs", href="/"))
    return page("Stepwell", element("p", text), link, status=status)


def _cancelled_by(root: Span) -> Markup:
    if root.cancellation is None:
        return Markup("")
    return element("div", f"Cancelled by {root.cancellation.text}", class_="note")


def _walk(root: Span) -> Iterator[tuple[Span, int]]:
    for child in root.children:
        yield child, 0
        for attempt in child.children:
            yield attempt, 1
    if root.output:
        yield root, 0


def _counts(workers: Sequence[WorkerInfo]) -> dict[str, str]:
    """How many workers each app has: those that take calls, and those that come or go."""
    active: Counter[str] = Counter()
    inactive: Counter[str] = Counter()
    for info in workers:
        (active if info.is_active else inactive).update(set(info.app_names))
    return {name: f"{active[name]} active, {inactive[name]} inactive" for name in active | inactive}


def _shown_of(workers: Sequence[WorkerInfo]) -> Markup:
    """How many there are, if not all of them are shown."""
    if len(workers) <= WORKERS_SHOWN:
        return Markup("")
    text = f"{WORKERS_SHOWN} of {len(workers)}; all: stepwell list workers"
    return element("p", text, class_="note")


def _left(infos: Sequence[WorkerInfo]) -> tuple[Markup, ...]:
    """The last workers that left, if any has."""
    if not infos:
        return ()
    rows = [
        (
            info.instance_id,
            _apps(info),
            info.disconnect_reason,
            info.calls_done,
            f"{info.sdk_language} {info.sdk_version}",
            _time(info.connected_at_ms),
            _time(info.disconnected_at_ms),
        )
        for info in infos
    ]
    heads = ("Instance", "Apps", "Left because of", "Done", "SDK", "Connected", "Left")
    return (element("h2", "Workers that left"), table(heads, rows, empty=""))


def _apps(info: WorkerInfo) -> str:
    return ", ".join(f"{app.name} {app.version}" if app.version else app.name for app in info.apps)


def _machine(info: WorkerInfo) -> str:
    parts = (info.ip, info.os, f"{info.cpu_cores} cores" if info.cpu_cores else "")
    return ", ".join(filter(None, parts))


def _status(status: str) -> Markup:
    return element("span", status.lower(), class_=status)


def _time(ms: int | None) -> str:
    return "" if ms is None else (iso(ms) or "").replace("T", " ")


def _took(duration_ms: int | None) -> str:
    if duration_ms is None:
        return ""
    return f"{duration_ms} ms" if duration_ms < 10_000 else f"{duration_ms / 1000:.1f} s"


def _output(span: Span) -> Markup:
    if span.sleep_until_ms is not None:
        return escaped(f"until {_time(span.sleep_until_ms)}")
    if not span.output:
        return Markup("")
    if span.status == FAILED and span.children:
        return Markup("")  # its last attempt has it
    if span.status == FAILED:
        error = read_error(span.output)
        if error.stack:
            said = element("div", _beginning(error.text), class_="error")
            return Markup(said + element("pre", _beginning(error.stack)))
    return element("pre", _beginning(span.output))


def _beginning(content: bytes | str) -> str:
    if isinstance(content, bytes):
        content = content[: OUTPUT_CHARS_MAX * 4].decode(errors="replace")
    return content if len(content) <= OUTPUT_CHARS_MAX else content[:OUTPUT_CHARS_MAX] + " …"
