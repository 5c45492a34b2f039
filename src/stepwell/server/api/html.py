"""HTML without templates: text is escaped unless it is already `Markup`.

Pages carry no script and load nothing: the content policy forbids both, so a worker's name or a
step's output can show nothing but itself.
"""

from __future__ import annotations

import base64
import hashlib
import html
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem;
  color: #1c2430; background: #fff }
h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #dde3ea;
  vertical-align: top }
th { font-weight: 600; color: #5a6675 }
code, pre { font: 13px/1.45 ui-monospace, monospace }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f6f9; padding: .6rem;
  margin: 0; max-height: 16rem; overflow: auto }
h1, p, td { overflow-wrap: anywhere } .error { margin-bottom: .3rem }
.COMPLETED, .READY { color: #117a3d } .FAILED { color: #b3261e }
.RUNNING, .WAITING, .QUEUED { color: #8a5a00 } .none, .note { color: #5a6675 }
@media (prefers-color-scheme: dark) {
  body { color: #e3e8ef; background: #12161c } th, .none, .note { color: #94a1b2 }
  th, td { border-color: #2a323d } pre { background: #1b212a } a { color: #8ab4f8 }
  .COMPLETED, .READY { color: #6bd08f } .FAILED { color: #f2938c }
  .RUNNING, .WAITING, .QUEUED { color: #e0b35c } }
@media (max-width: 48rem) {
  body { margin: 1rem auto } table, tbody, tr, td { display: block } thead { display: none }
  tr { border-bottom: 1px solid #8884; padding: .4rem 0 } td { border: 0; padding: .1rem 0 }
  td:empty { display: none } td::before { content: attr(data-head) " "; color: #76879a } }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

PAGE_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """Any value as HTML; None is nothing."""
    if isinstance(value, Markup):
        return value
    return Markup("" if value is None else html.escape(str(value)))


def element(name: str, *children: object, **attributes: str) -> Markup:
    """`<name attributes>children</name>`.

    In the name of an attribute a trailing underscore is dropped, others are dashes.
    """
    opened = name + "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{opened}>" + "".join(escaped(child) for child in children) + f"</{name}>")


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> Markup:
    """A table, or the sentence that says why there is none.

    On a narrow screen each row is a block, with the heads in front of its cells.
    """
    lines = [
        element(
            "tr",
            *(element("td", cell, data_head=head) for head, cell in zip(heads, row, strict=True)),
        )
        for row in rows
    ]
    if not lines:
        return element("p", empty, class_="none")
    head = element("tr", *(element("th", text) for text in heads))
    return element("table", element("thead", head), element("tbody", *lines))


def page(
    title: str, *content: object, refresh_s: int | None = None, status: int = 200
) -> HTMLResponse:
    """A whole page; `refresh_s` loads it again after that many seconds."""
    refresh = "" if refresh_s is None else f'<meta http-equiv="refresh" content="{refresh_s:d}">'
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{refresh}<title>{escaped(title)}</title><style>{STYLE}</style></head><body>"
        + "".join(escaped(part) for part in content)
        + "</body></html>"
    )
    return HTMLResponse(text, status, PAGE_HEADERS)
