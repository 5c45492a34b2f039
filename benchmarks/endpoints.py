"""The least that a server can do, to measure the raw limit: run by a driver as a process.

Usage: python -m benchmarks.endpoints http PORT   an empty POST endpoint
       python -m benchmarks.endpoints echo PORT   a WebSocket that sends back what it gets
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
import picows
import uvicorn
import uvloop

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_ANSWER = b'{"ids":["01KAZ0XT7W9Y3JZJ4K5Q2M8N6P"],"status":200}'
_decode = msgspec.json.Decoder(dict[str, Any]).decode


async def empty(scope: Scope, receive: Receive, send: Send) -> None:
    """Decode the body, answer as event intake does, and that is all."""
    if scope["type"] != "http":
        return
    message = await receive()
    body = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    _decode(body)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(_ANSWER)),
            ],
        }
    )
    await send({"type": "http.response.body", "body": _ANSWER})


class Echo(picows.WSListener):
    """Sends each frame back."""

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


def main() -> None:
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "http":
        uvicorn.run(
            empty,
            host="127.0.0.1",
            port=port,
            http="httptools",
            loop="uvloop",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
        )
    else:
        uvloop.run(_echo(port))


async def _echo(port: int) -> None:
    server = await picows.ws_create_server(lambda _request: Echo(), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    main()
