"""The history of workers: what is known of each connection, stored, and read by whoever asks.

The book of workers knows those that are open. What changes in it is stored a moment later, in a
commit of its own and many connections in one: nothing waits for it, and a heartbeat or a call
changes nothing that is stored. So a connection that came just before a crash may be missing, and
of one that was open then the last stored change is the last that is known.

Source: docs/reference/wire/connect.md, "observability".
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from stepwell.engine.rows import PutWorker, TrimWorkers
from stepwell.errors import StoreError, WireError
from stepwell.server.workers import WorkerInfo, WorkerStatus
from stepwell.wire.ids import parse_ulid

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from stepwell.engine.rows import Write
    from stepwell.server.runtime import Runtime
    from stepwell.server.workers import WorkerBook
    from stepwell.store.interface import Reader, WorkerRecord

GATHER_S: Final = 0.5
"""After a change others are waited for: a worker that comes is one row, not three."""

ROWS_MAX: Final = 200
"""In one commit: about two milliseconds. A fleet that comes back takes several."""

RETRY_S: Final = 5.0
TRIM_S: Final = 3_600.0
"""How often what is too old is looked for while no connection ends."""

TRIMMED_MAX: Final = 500
"""In one commit."""

END_WAIT_S: Final = 2.0
"""How long a server that stops waits for its last rows."""

SERVER_STOPPED: Final = "SERVER_STOPPED"
"""The reason of a connection that was open when its server crashed."""

_log = logging.getLogger(__name__)


class WorkerHistory:
    """Stores what becomes of connections, and lists them; an async context manager.

    On entering, what a crash left open is ended. On exit the last changes are stored.

    Args:
        kept_max: Ended connections that are kept; 0 keeps none.
        kept_ms: How long one is kept.
    """

    def __init__(self, *, runtime: Runtime, book: WorkerBook, kept_max: int, kept_ms: int) -> None:
        self._runtime = runtime
        self._book = book
        self._kept_max = kept_max
        self._kept_ms = kept_ms
        self._changed: dict[str, None] = {}  # in order
        self._timer: asyncio.TimerHandle | None = None
        self._trim_timer: asyncio.TimerHandle | None = None
        self._is_out = False  # a commit
        self._has_ended = True  # some connection has, since the last commit that trimmed
        self._settled = asyncio.Event()
        self._settled.set()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop

    async def __aenter__(self) -> WorkerHistory:
        self._loop = asyncio.get_running_loop()
        try:
            await self._end_what_was_open()
        except StoreError as error:
            _log.warning("the history of workers is not up to date: %s", error)
        self._book.on_change(self._note)
        self._trim()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._stopping = True
        for timer in (self._timer, self._trim_timer):
            if timer is not None:
                timer.cancel()
        self._timer = None
        self._store()
        try:
            async with asyncio.timeout(END_WAIT_S):
                await self._settled.wait()
        except TimeoutError:
            _log.warning("the last changes of workers are not stored")

    # --- reading ---

    def get(self, reader: Reader, connection_id: str) -> WorkerInfo | None:
        """One connection, open or not."""
        info = self._book.get(connection_id)
        if info is not None:
            return info
        try:
            record = reader.worker(parse_ulid(connection_id))
        except WireError:
            return None
        return None if record is None else _info(record)

    def list(
        self,
        reader: Reader,
        *,
        statuses: Collection[WorkerStatus],
        app_names: Collection[str] = (),
        instance_id: str | None = None,
        before: str | None = None,
        limit: int,
    ) -> list[WorkerInfo]:
        """Connections by the time they were asked for, newest first.

        Args:
            app_names: Those that carry one of these apps; none means all.
            before: A connection id, exclusive.
        """
        known = {
            info.connection_id: info
            for info in self._book.list()
            if info.status in statuses
            and (not app_names or any(name in app_names for name in info.app_names))
            and (instance_id is None or info.instance_id == instance_id)
            and (before is None or info.connection_id < before)
        }
        if WorkerStatus.DISCONNECTED in statuses:
            for name in app_names or (None,):
                records = reader.ended_workers(
                    before=None if before is None else parse_ulid(before),
                    app_name=name,
                    instance_id=instance_id,
                    limit=limit,
                )
                for info in map(_info, records):
                    # One that came again with the same id is open, and known as such.
                    if self._book.get(info.connection_id) is None:
                        known[info.connection_id] = info
        newest_first = sorted(known, reverse=True)
        return [known[connection_id] for connection_id in newest_first[:limit]]

    # --- writing ---

    def _note(self, connection_id: str) -> None:
        """The book has something new about a connection."""
        self._changed[connection_id] = None
        if self._timer is None and not self._is_out:
            self._timer = self._loop.call_later(GATHER_S, self._store)

    def _trim(self) -> None:
        self._has_ended = True
        self._trim_timer = self._loop.call_later(TRIM_S, self._trim)
        if self._timer is None and not self._is_out:
            self._timer = self._loop.call_later(GATHER_S, self._store)

    def _store(self) -> None:
        """Commit what has changed, so much at a time."""
        self._timer = None
        if self._is_out:
            return  # its end goes on with what has come meanwhile
        ids = list(self._changed)[:ROWS_MAX]
        for connection_id in ids:
            del self._changed[connection_id]
        infos = [info for info in map(self._book.get, ids) if info is not None]
        rows: list[Write] = [_row(info) for info in infos]
        self._has_ended = self._has_ended or any(not info.is_live for info in infos)
        if self._has_ended:
            rows.append(self._trim_row())
        if not rows:
            self._settled.set()
            return
        self._has_ended = False
        self._is_out = True
        self._settled.clear()
        self._runtime.record(rows, lambda error: self._stored(infos, error))

    def _stored(self, infos: Sequence[WorkerInfo], error: StoreError | None) -> None:
        self._is_out = False
        if error is None:
            for info in infos:
                self._book.forget(info)
            if self._changed:
                self._timer = self._loop.call_later(0, self._store)
            else:
                self._settled.set()
            return
        _log.warning("changes of workers are not stored: %s", error, extra={"code": error.code})
        self._has_ended = True
        self._changed = dict.fromkeys([info.connection_id for info in infos]) | self._changed
        if self._stopping:
            self._settled.set()
        else:
            self._timer = self._loop.call_later(RETRY_S, self._store)

    def _trim_row(self) -> TrimWorkers:
        return TrimWorkers(
            ended_before_ms=self._runtime.now_ms() - self._kept_ms,
            keep=self._kept_max,
            limit=TRIMMED_MAX,
        )

    async def _end_what_was_open(self) -> None:
        """The server before this one did not get to it."""
        reader = self._runtime.reader()
        try:
            while records := reader.open_workers(limit=ROWS_MAX):
                done: asyncio.Future[StoreError | None] = self._loop.create_future()
                self._runtime.record(
                    [_row(_ended(_info(each))) for each in records], done.set_result
                )
                error = await done
                if error is not None:
                    raise error
        finally:
            reader.close()


def _ended(info: WorkerInfo) -> WorkerInfo:
    return msgspec.structs.replace(
        info,
        status=WorkerStatus.DISCONNECTED,
        disconnected_at_ms=info.last_heartbeat_ms,
        disconnect_reason=info.disconnect_reason or SERVER_STOPPED,
    )


def _row(info: WorkerInfo) -> PutWorker:
    return PutWorker(
        connection_id=parse_ulid(info.connection_id),
        instance_id=info.instance_id,
        ended_at_ms=info.disconnected_at_ms,
        app_names=tuple(dict.fromkeys(info.app_names)),
        body=msgspec.json.encode(info),
    )


_DECODER: Final = msgspec.json.Decoder(WorkerInfo)


def _info(record: WorkerRecord) -> WorkerInfo:
    return _DECODER.decode(record.body)
