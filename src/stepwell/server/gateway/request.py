"""An HTTP request without a body, read strictly: all that the gateway's port takes.

Source: RFC 9112 sections 2 to 5; RFC 6455 section 4.2.
"""

from __future__ import annotations

import re
from http import HTTPStatus

import msgspec

from stepwell.server.gateway.upgrade import Answer

HEAD_BYTES_MAX = 16 * 2**10
END_OF_HEAD = b"\r\n\r\n"

_ONCE = ("host", "origin", "upgrade", "sec-websocket-key", "sec-websocket-version")
"""Said twice, they could mean one thing to us and another to a proxy."""

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/(\d)\.(\d)")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")


class Request(msgspec.Struct, frozen=True):
    """A GET request, with its headers under lower-case names.

    What comes under one name several times is joined by commas.
    """

    path: str
    headers: dict[str, str]


def read_request(head: bytes) -> Request | Answer:
    """Read a head up to its empty line; an answer says what is wrong with it."""
    line, *fields = head.split(b"\r\n")
    asked = _LINE.fullmatch(line)
    if asked is None:
        return _bad("this is no HTTP request")
    method, path, *version = asked.groups()
    if version != [b"1", b"1"]:
        return _bad("the version must be HTTP/1.1")
    if method != b"GET":
        return _bad("the method must be GET")
    headers: dict[str, str] = {}
    for each in fields:
        field = _FIELD.fullmatch(each)
        if field is None:
            return _bad("a header is not of the form `name: value`")
        name = field[1].decode("latin-1").lower()
        value = field[2].decode("latin-1").rstrip(" \t")
        if name not in headers:
            headers[name] = value
        elif name in _ONCE:
            return _bad(f"the header {name} comes twice")
        else:
            headers[name] += f", {value}"
    return Request(path.decode("latin-1"), headers)


def _bad(text: str) -> Answer:
    return Answer(status=HTTPStatus.BAD_REQUEST, text=text)
