"""A proxy between a worker and the gateway: it records calls and replies, and passes all on."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any, Self

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from stepwell.wire import connect_pb2 as pb
from tests.compat.recording import reply_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.sync.connection import Connection
    from websockets.typing import Subprotocol

    from tests.compat.recording import Call, Recording

PATH = "/v0/connect"
NO_STATUS = 1005  # stands for a close frame without a code, and cannot be sent
_STATUS = {pb.NOT_COMPLETED: 206, pb.DONE: 200, pb.ERROR: 500}


class ConnectTap:
    """Listens on a port of its own; `target` is the gateway's URL, set before the first worker."""

    def __init__(self, recording: Recording) -> None:
        self.target = ""
        self._recording = recording
        self._calls: dict[str, Call] = {}
        self._server: Server = serve(
            self._relay,
            "127.0.0.1",
            0,
            select_subprotocol=_first_offered,
            compression=None,
            max_size=None,
            ping_interval=None,
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where workers reach the gateway."""
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}{PATH}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._thread.join()

    def _relay(self, worker: ServerConnection) -> None:
        offered: list[Subprotocol] = [worker.subprotocol] if worker.subprotocol else []
        try:
            dialled = connect(
                self.target,
                subprotocols=offered or None,
                compression=None,
                max_size=None,
                ping_interval=None,
                proxy=None,
                legacy=True,
            )
        except (OSError, WebSocketException):
            _cut(worker)  # the gateway is away
            return
        with dialled as gateway:
            back = threading.Thread(
                target=_pump, args=(gateway, worker, self._from_gateway), daemon=True
            )
            back.start()
            _pump(worker, gateway, self._from_worker)
            back.join()

    def _from_gateway(self, message: pb.ConnectMessage) -> None:
        if message.kind != pb.GATEWAY_EXECUTOR_REQUEST:
            return
        request = pb.GatewayExecutorRequestData.FromString(message.payload)
        self._calls[request.request_id] = self._recording.begin(
            run_id=request.run_id,
            slug=request.function_slug,
            step=request.step_id,
            body=request.request_payload,
        )

    def _from_worker(self, message: pb.ConnectMessage) -> None:
        if message.kind != pb.WORKER_REPLY:
            return
        reply = pb.SDKResponse.FromString(message.payload)
        call = self._calls.get(reply.request_id)
        if call is not None:
            call.reply = reply_from(
                status=_STATUS[reply.status],
                body=reply.body,
                version=reply.request_version,
                no_retry=reply.no_retry,
            )


def _first_offered(_server: ServerConnection, offered: Any) -> Subprotocol | None:
    found: Subprotocol | None = next(iter(offered), None)
    return found


def _pump(source: Connection, sink: Connection, look: Callable[[pb.ConnectMessage], None]) -> None:
    """Pass messages on until one side ends, then end the other likewise: by a close, or without."""
    try:
        for message in source:
            assert isinstance(message, bytes), "the protocol has no text messages"
            look(pb.ConnectMessage.FromString(message))
            sink.send(message)
    except ConnectionClosed:
        pass
    finally:
        close = source.protocol.close_rcvd
        if close is None:
            _cut(sink)
        else:
            with contextlib.suppress(ConnectionClosed):
                sink.close(*((close.code, close.reason) if close.code != NO_STATUS else ()))


def _cut(connection: Connection) -> None:
    """End a connection without a word, as a killed process does."""
    with contextlib.suppress(OSError):
        connection.socket.shutdown(socket.SHUT_RDWR)
