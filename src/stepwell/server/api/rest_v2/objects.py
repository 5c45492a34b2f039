"""The objects of v2. Empty values are left out; 64-bit numbers are texts.

Additions of ours, harmless to other clients: `function.slug` of a run; `sleepUntil`, `stepInfo` and
`cancellation` of a span.
Source: docs/reference/http-api.md, "REST v2".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stepwell.server.api.functions import bare_id
from stepwell.server.api.responses import iso, raw, without_empty
from stepwell.server.api.step_details import EventWait, Invocation, ServerRequest, SignalWait
from stepwell.server.api.timeline import RUN_STATUS
from stepwell.wire.ids import ulid_ms, ulid_text

if TYPE_CHECKING:
    import msgspec

    from stepwell.engine.rows import PutApp
    from stepwell.server.api.context import Context
    from stepwell.server.api.step_details import Detail
    from stepwell.server.api.timeline import Span
    from stepwell.server.app_book import AppTrouble, Site
    from stepwell.server.runtime import FunctionEntry
    from stepwell.store.interface import RunRecord

RETRIES_DEFAULT = 4


def run_object(run: RunRecord, context: Context, *, with_output: bool) -> dict[str, Any]:
    """FunctionRun. `waiting` and `function.isArchived` are additions of ours."""
    function = context.runtime.catalog.by_no(run.function_no)
    event = context.reader.event(run.event_id)
    duration_ms = None
    if run.started_at_ms is not None and run.ended_at_ms is not None:
        duration_ms = _text(run.ended_at_ms - run.started_at_ms)
    shown: dict[str, Any] = {
        "id": ulid_text(run.run_id),
        "status": RUN_STATUS[run.status],
        "queuedAt": iso(ulid_ms(run.run_id)),
        "startedAt": iso(run.started_at_ms),
        "endedAt": iso(run.ended_at_ms),
        "durationMs": duration_ms,
        "trigger": without_empty(
            {"eventIds": [ulid_text(run.event_id)], "eventName": event.name if event else ""}
        ),
    }
    if function is not None:
        shown["function"] = without_empty(
            {
                "id": function.function_id,
                "name": function.config.name,
                "slug": bare_id(function),
                "isArchived": function.archived_at_ms is not None or None,
            }
        )
        shown["app"] = {"id": function.app_name}
    waiting = None
    if not run.status.is_over:
        waiting = context.runtime.waiting(run.run_id, run.function_no)
    if waiting is not None:
        shown["waiting"] = without_empty(
            {"reason": waiting.reason, "until": iso(waiting.until_ms), "text": waiting.text}
        )
    if with_output:
        shown["output"] = _output(run.output)
    return without_empty(shown)


def span_object(span: Span, *, with_output: bool) -> dict[str, Any]:
    """TraceSpan, with its children."""
    duration_ms = span.duration_ms
    shown = without_empty(
        {
            "id": span.span_id,
            "name": span.name,
            "status": span.status,
            "stepOp": span.step_op,
            "stepId": span.step_id,
            "durationMs": None if duration_ms is None else _text(duration_ms),
            "queuedAt": iso(span.queued_at_ms),
            "startedAt": iso(span.started_at_ms),
            "endedAt": iso(span.ended_at_ms),
            "sleepUntil": iso(span.sleep_until_ms),
            "stepInfo": _step_info(span.detail),
            "cancellation": span.cancellation,
            "children": [span_object(child, with_output=with_output) for child in span.children],
        }
    )
    if with_output and span.output:
        shown["output"] = _output(span.output)
    return shown


def _step_info(detail: Detail | None) -> dict[str, Any] | None:
    """What a step is, or waits for, that is more than a call."""
    match detail:
        case EventWait():
            info = {"kind": "event", "event": detail.event, "if": detail.condition}
        case SignalWait():
            info = {"kind": "signal", "signal": detail.signal}
        case Invocation():
            info = {"kind": "invoke", "function": detail.function, "eventId": detail.event_id,
                    "runId": detail.run_id}  # fmt: skip
        case ServerRequest():
            return {"kind": "ai" if detail.of_ai else "fetch"}
        case _:
            return None
    more = {"until": iso(detail.until_ms), "timedOut": detail.timed_out or None}
    return without_empty(info | more)


def app_object(app: PutApp, functions: int, trouble: AppTrouble | None) -> dict[str, Any]:
    """App. Its id is the name that the SDK gave it. `error` is an addition of ours."""
    language, _, _ = app.sdk.partition(":")
    return without_empty(
        {
            "id": app.name,
            "name": app.name,
            "method": "CONNECT" if app.method == "connect" else "SERVE",
            "appVersion": app.app_version,
            "functionCount": functions,
            "latestSync": without_empty(
                {
                    "status": "success",
                    "syncedAt": iso(app.synced_at_ms),
                    "sdkLanguage": language.removeprefix("inngest-"),
                    "framework": app.framework,
                    "url": app.url,
                }
            ),
            "error": _trouble(trouble),
        }
    )


def site_object(site: Site) -> dict[str, Any]:
    """A URL where an app is said to be and none has synced yet, in the shape of an app."""
    return without_empty(
        {
            "id": site.url,
            "name": site.url,
            "method": "SERVE",
            "latestSync": {"status": "pending" if site.trouble is None else "error",
                           "url": site.url},
            "error": _trouble(site.trouble),
        }
    )  # fmt: skip


def _trouble(trouble: AppTrouble | None) -> dict[str, Any] | None:
    if trouble is None:
        return None
    return {"code": trouble.reason, "text": trouble.text, "since": iso(trouble.since_ms)}


def function_object(entry: FunctionEntry) -> dict[str, Any]:
    """Function."""
    triggers = [
        {"type": "CRON", "value": trigger.cron}
        if trigger.cron is not None
        else without_empty({"type": "EVENT", "value": trigger.event, "if": trigger.expression})
        for trigger in entry.config.triggers
    ]
    retries = entry.config.retries
    return without_empty(
        {
            "id": entry.function_id,
            "name": entry.config.name,
            "slug": bare_id(entry),
            "isArchived": entry.archived_at_ms is not None or None,
            "app": {"id": entry.app_name},
            "triggers": triggers,
            "configuration": {
                "retries": {"value": retries, "isDefault": retries == RETRIES_DEFAULT}
            },
        }
    )


def _output(payload: bytes | None) -> msgspec.Raw | dict[str, Any] | None:
    """An object as it is, any other JSON value wrapped: the field's type is an object."""
    value = raw(payload)
    if value is None or payload is None or payload.lstrip()[:1] == b"{":
        return value
    return {"data": value}


def _text(number: int) -> str:
    return str(number)
