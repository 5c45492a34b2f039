"""What the API's handlers work with, in one value."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from stepwell.server.app_book import AppBook
    from stepwell.server.runtime import Runtime
    from stepwell.server.settings import Settings
    from stepwell.server.worker_history import WorkerHistory
    from stepwell.server.workers import WorkerBook
    from stepwell.store.interface import Reader


class Context:
    """The runtime, the settings and the gateway's side of things.

    Handlers run on the loop's thread and share one reader, opened on first use.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        settings: Settings,
        book: WorkerBook,
        worker_history: WorkerHistory,
        app_book: AppBook,
        gateway_url: Callable[[str], str],
        mint_session_token: Callable[[str], str],
        drained: Callable[[], bool],
        body_timeout_s: float,
        sync_app: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        self.runtime = runtime
        self.settings = settings
        self.book = book
        self.worker_history = worker_history
        self.app_book = app_book
        self.gateway_url = gateway_url
        self.mint_session_token = mint_session_token
        self.drained = drained
        self.body_timeout_s = body_timeout_s
        self.sync_app = sync_app
        self._reader: Reader | None = None
        self._closers: list[Callable[[], None]] = []

    @property
    def reader(self) -> Reader:
        """What is committed, for reading on the loop's thread."""
        if self._reader is None:
            self._reader = self.runtime.reader()
        return self._reader

    def on_close(self, closer: Callable[[], None]) -> None:
        """Call this when the API ends."""
        self._closers.append(closer)

    def close(self) -> None:
        """Give the reader back, and end what was started. Idempotent."""
        while self._closers:
            self._closers.pop()()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
