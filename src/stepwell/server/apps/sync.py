"""Asks an app at its URL to sync, and puts in force what it says.

In development the request is not signed and asks for nothing more than that: the app registers at
the server that it knows, as the reference's server has it. With a signing key the request asks for
the configuration in the answer. That needs no way from the app to the server, and one SDK answers
so to whatever is signed; an app that does not want to registers as before. Such an answer counts
only if it is signed: whoever could put words in the app's mouth would choose what runs.
Source: docs/reference/wire/http-sdk.md, "Syncs".
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

from stepwell.errors import AuthError, OutboundError, StepwellError
from stepwell.wire.http_calls import Answer
from stepwell.wire.http_sync import (
    IN_BAND,
    Refused,
    Told,
    Took,
    is_in_band,
    read_sync_answer,
    refused_by_network,
    sync_body,
)
from stepwell.wire.signing import HEADER, sign, verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.server.app_book import AppBook
    from stepwell.server.outbound import OutboundClient
    from stepwell.server.runtime import Runtime
    from stepwell.wire.http_sync import SyncAnswer

SYNC_TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 4 * 2**20  # A function's configuration is about 1 KiB.

_SOMETHING_ELSE = ("url_not_found", "not_sdk")

_log = logging.getLogger(__name__)


class Syncer:
    """Syncs apps, one request each.

    Args:
        signing_keys: The current one first; none in development.
        server_kind: What the server calls itself to SDKs.
    """

    def __init__(
        self,
        *,
        runtime: Runtime,
        client: OutboundClient,
        book: AppBook,
        signing_keys: Sequence[str],
        server_kind: str,
    ) -> None:
        self._runtime = runtime
        self._client = client
        self._book = book
        self._keys = tuple(signing_keys)
        self._server_kind = server_kind

    async def sync(self, url: str) -> bool:
        """Sync the app at this URL. What came of it is in the book; never raises for the app.

        Returns:
            Whether it went well.
        """
        answer = await self._ask(url)
        match answer:
            case Took():
                self._book.sync_answered(url)
                return True
            case Told():
                return await self._register(url, answer)
            case Refused():
                self._failed(url, answer)
                return False
            case _:
                assert_never(answer)

    async def _ask(self, url: str) -> SyncAnswer:
        said: SyncAnswer | None = None
        for key in self._keys or (None,):
            try:
                answer = await self._put(url, key)
            except OutboundError as error:
                return refused_by_network(error)
            said = self._read(url, answer)
            if answer.status != 401:
                break
        assert said is not None, "there is a key, or none"
        return said

    async def _put(self, url: str, key: str | None) -> Answer:
        body = sync_body(url)
        headers = {"Content-Type": "application/json", "X-Inngest-Server-Kind": self._server_kind}
        if key is not None:
            headers[HEADER] = sign(body, key=key, unix_s=int(time.time()))
            headers["X-Inngest-Sync-Kind"] = IN_BAND
        response = await self._client.request(
            "PUT",
            url,
            headers=headers,
            body=body,
            timeout_s=SYNC_TIMEOUT_S,
            bytes_max=ANSWER_BYTES_MAX,
        )
        return Answer(status=response.status, headers=response.headers, body=response.body)

    def _read(self, url: str, answer: Answer) -> SyncAnswer:
        read = read_sync_answer(answer, url=url)
        if isinstance(read, Told) and self._keys and is_in_band(answer):
            try:
                self._verify(answer)
            except AuthError as error:
                return Refused(
                    reason="response_unsigned",
                    text=f"{url} answered with functions, and its answer is not to be trusted: "
                    f"{error.message}",
                )
        return read

    def _verify(self, answer: Answer) -> None:
        header = answer.headers.get(HEADER.lower())
        now_s = int(time.time())
        try:
            verify(answer.body, header, keys=self._keys, now_s=now_s)
        except AuthError:
            # Some frameworks end a body with a line end after it was signed.
            if not answer.body.endswith(b"\n"):
                raise
            verify(answer.body.rstrip(b"\r\n"), header, keys=self._keys, now_s=now_s)

    async def _register(self, url: str, told: Told) -> bool:
        try:
            await self._runtime.register(told.registration)
        except StepwellError as error:
            self._failed(url, Refused(reason=error.code, text=f"{url}: {error.message}"))
            return False
        app_name, functions = told.registration.app_name, len(told.registration.functions)
        self._book.synced(told.registration.url, app_name, functions=functions)
        self._book.sync_answered(url, app_name)
        return True

    def _failed(self, url: str, refused: Refused) -> None:
        text = refused.text
        if refused.reason in _SOMETHING_ELSE and urlsplit(url).path in ("", "/"):
            text += f"; apps are mostly served at {url.rstrip('/')}/api/inngest"
        self._book.sync_failed(url, reason=refused.reason, text=text, now_ms=self._runtime.now_ms())
