"""The root of mutations: what can be done by GraphQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from stepwell.errors import WireError
from stepwell.server.api import queries
from stepwell.server.api.cancelling import Cancelled, cancel_run
from stepwell.server.api.graphql.apps import App, UnsyncedApp, app_at, synced_app
from stepwell.server.api.graphql.reading import Reading
from stepwell.server.api.graphql.runs import FunctionRun
from stepwell.wire.app_urls import normal_url
from stepwell.wire.json import encode

if TYPE_CHECKING:
    from collections.abc import Mapping


class Mutation:
    """Each method is durable when it returns."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._context = reading.context

    async def create_app(self, *, input: Mapping[str, str]) -> App | UnsyncedApp:
        """The app at the URL; what is wrong with it, if anything, is its `error`."""
        await self._sync(input["url"])
        return app_at(self._reading, input["url"])

    async def update_app(self, *, input: Mapping[str, str]) -> App | UnsyncedApp:
        before = synced_app(self._context, input["id"])
        await self._sync(input["url"])
        catalog = self._context.runtime.catalog
        row = catalog.apps.get(before.name)
        served = catalog.transports.of(before.name, "serve")
        if row is None or served is None or normal_url(served.url) != normal_url(input["url"]):
            raise WireError(
                f"the app {before.name} did not answer at {input['url']}; it is still at "
                f"{before.url}",
                code="app_not_found",
                status=404,
            )
        return App(self._reading, row.name, row)

    async def delete_app(self, *, id: str) -> str:
        row = synced_app(self._context, id)
        await self._remove(row.name)
        return id

    async def delete_app_by_name(self, *, name: str) -> bool:
        return await self._remove(name)

    async def invoke_function(
        self,
        *,
        function_slug: str,
        data: Mapping[str, Any] | None = None,
        user: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
        debug_session_id: str | None = None,
        debug_run_id: str | None = None,
    ) -> bool:
        if debug_session_id or debug_run_id:
            _not_supported("debug sessions")
        if meta:
            _not_supported("meta of an invocation")
        started = await self._context.runtime.invoke(
            function_slug,
            data=encode(data or {}),
            user=None if user is None else encode(user),
        )
        if started is None:
            raise WireError(
                f"could not find function with ID: {function_slug}",
                code="function_not_found",
                status=404,
            )
        return True

    async def cancel_run(self, *, run_id: str) -> FunctionRun:
        """Cancel a run; one that is cancelled already is no error."""
        wanted = queries.run_id(run_id)
        if await cancel_run(self._context, wanted) is Cancelled.ENDED:
            raise WireError("cannot cancel an ended run", code="run_already_ended", status=409)
        run = Reading(self._context).run(wanted)  # read again: it is another row now
        assert run is not None, "a run that was cancelled is stored"
        return FunctionRun(self._reading, run)

    def rerun(self, **_arguments: Any) -> NoReturn:
        _not_supported("rerun")

    async def _sync(self, url: str) -> None:
        book, sync = self._context.app_book, self._context.sync_app
        book.named(url)
        if sync is not None:
            await sync(url)

    async def _remove(self, app_name: str) -> bool:
        found = await self._context.runtime.remove_app(app_name)
        if found:
            self._context.app_book.removed(app_name)
        return found


def _not_supported(what: str) -> NoReturn:
    raise WireError(f"{what} is not supported in this version", code="not_implemented", status=501)
