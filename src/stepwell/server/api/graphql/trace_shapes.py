"""A run's tree in the shapes that suites check: the names of spans, their counts of attempts.

There are two sets of names, since suites ask for both: the older one, and with `preview` the newer
one. The tree is the same. What one name has that the other has not:

| | older | `preview` |
| --- | --- | --- |
| root | the function's slug | `Run` |
| the function's end | `function success`, `function error`, `execute` if it was tried again | |
| | | `Finalization` |
| what comes next | `Queued step`, or a queued attempt | nothing |

Source: docs/reference/graphql.md, "Traces".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from stepwell.server.api.timeline import COMPLETED, FAILED, QUEUED, RUNNING, Role, Span

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_YET: Final = "queued"
"""The span id of what has not begun."""

FINALIZATION: Final = "FINALIZATION"


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A span under the name that it is shown with.

    Attributes:
        output_of: The id of the span whose output it shows; None while there is none.
        step_type: The step's op, or `FINALIZATION`; empty for the root.
    """

    span: Span
    name: str
    status: str
    attempts: int = 0
    output_of: str | None = None
    step_op: str | None = None
    step_type: str = ""
    parent_id: str | None = None
    children: tuple[Shown, ...] = ()


def older(root: Span, slug: str) -> Shown:
    """The tree as suites know it that do not ask for `preview`."""
    is_over = root.ended_at_ms is not None
    children = [_older(span, root, is_over) for span in root.children]
    if not is_over and children and children[-1].status in (COMPLETED, FAILED):
        children.append(_not_yet("Queued step", root))
    return Shown(
        span=root,
        name=slug,
        status=root.status,
        output_of=_own_output(root),
        children=tuple(children),
    )


def newer(root: Span) -> Shown:
    """The tree with `preview`."""
    return Shown(
        span=root,
        name=root.name,
        status=root.status,
        output_of=_own_output(root),
        children=tuple([_newer(span, root) for span in root.children]),
    )


def _older(span: Span, root: Span, is_over: bool) -> Shown:
    """A step, or the function; its attempts are children of it and say that the root is theirs."""
    is_function = span.role is Role.FUNCTION
    tried = _tried(span)
    children = _attempts(span, root)
    is_tried_again = not is_over and span.status == QUEUED and tried > 0
    if is_tried_again:
        children.append(_not_yet(f"Attempt {tried}", root))
    return Shown(
        span=span,
        name=_function_name(span, tried) if is_function else span.name,
        status=RUNNING if is_tried_again else span.status,
        attempts=_count(span, tried),
        output_of=_own_output(root) if is_function else _own_output(span),
        step_op=span.step_op,
        step_type=_type(span),
        parent_id=root.span_id,
        children=tuple(children),
    )


def _newer(span: Span, root: Span) -> Shown:
    return Shown(
        span=span,
        name=span.name,
        status=span.status,
        attempts=_count(span, _tried(span)),
        output_of=None if span.role is Role.FUNCTION else _own_output(span),
        step_op=span.step_op,
        step_type=_type(span),
        parent_id=root.span_id,
        children=tuple(_attempts(span, span)),
    )


def _attempts(span: Span, parent: Span) -> list[Shown]:
    return [
        Shown(
            span=child,
            name=child.name,
            status=child.status,
            attempts=child.number,
            output_of=_own_output(child),
            step_op=span.step_op,
            step_type=_type(span),
            parent_id=parent.span_id,
        )
        for child in span.children
    ]


def _function_name(span: Span, tried: int) -> str:
    if span.status == COMPLETED:
        return "function success"
    if span.status == FAILED and tried == 1:
        return "function error"
    return "execute"


def _tried(span: Span) -> int:
    """How many attempts are known."""
    return _numbered(span.children)


def _numbered(spans: Sequence[Span]) -> int:
    return sum(span.role is Role.ATTEMPT for span in spans)


def _count(span: Span, tried: int) -> int:
    """The last attempt's number, or all of them if it failed for good; waits count none."""
    if span.detail is not None and span.status != FAILED:
        return 0
    return tried if span.status == FAILED else max(0, tried - 1)


def _type(span: Span) -> str:
    return FINALIZATION if span.role is Role.FUNCTION else span.step_op or ""


def _own_output(span: Span) -> str | None:
    return span.span_id if span.output else None


def _not_yet(name: str, root: Span) -> Shown:
    span = Span(
        role=Role.ATTEMPT,
        span_id=NOT_YET,
        name=name,
        status=QUEUED,
        queued_at_ms=root.started_at_ms,
    )
    return Shown(span=span, name=name, status=QUEUED, parent_id=root.span_id)
