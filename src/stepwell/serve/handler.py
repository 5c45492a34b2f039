"""The served app without I/O: a request in; an answer out, or an order and then an answer.

    refuse(head)      before the body is read: an answer if the request will not be taken
    receive(request)  an answer, or what has to be done first
    called, synced    the answer when it is done

In production every call is signed, and so is everything else, with one exception: a sync only
tells the app to register at the server that it is configured for, so it may go without a
signature where it cannot choose the app's URL. In development nothing needs a signature; one that
a key of ours made is answered with a signature, and with what only the verified may see.
Source: docs/reference/wire/http-sdk.md, "Serving".
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from stepwell.app import check_client, functions_by_id
from stepwell.errors import (
    AuthError,
    ConfigError,
    LimitExceeded,
    StepwellError,
    WireError,
)
from stepwell.serve.answers import Answers, error_body, kind_of, passed_on
from stepwell.serve.inspection import inspection
from stepwell.serve.orders import Caller, CallOrder, Registered, SyncOrder
from stepwell.serve.refusals import RefusalLog
from stepwell.serve.registration import (
    IN_BAND,
    OUT_OF_BAND,
    SYNC_KIND,
    accepted,
    in_band_body,
    register_body,
    register_headers,
)
from stepwell.wire.calls import decode_call
from stepwell.wire.signing import HEADER, verify_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.client import Client
    from stepwell.function import Function
    from stepwell.outcome import Outcome
    from stepwell.serve.messages import Request, Response
    from stepwell.serve.options import ServeOptions

METHODS: Final = ("GET", "POST", "PUT")

CALL_BYTES_MAX: Final = 32 * 2**20
"""A call has up to 4 MiB, unless its event alone is larger; how large events may be is a setting
of the server."""

SYNC_BYTES_MAX: Final = 64 * 2**10

Order: TypeAlias = CallOrder | SyncOrder

_SIGNATURE = HEADER.lower()
_SERVER_KIND = "x-inngest-server-kind"
_URL = msgspec.json.Decoder(dict[str, Any])

_log = logging.getLogger("stepwell.serve")


class ServedApp:
    """One app's functions at one URL. Used by any thread.

    Raises:
        ConfigError: The client cannot serve (`signing_key_missing`, `signing_key_invalid`,
            `base_url_missing`), or the functions do not fit (`functions_missing`,
            `functions_conflict`).
    """

    def __init__(
        self, client: Client, functions: Sequence[Function[Any]], options: ServeOptions
    ) -> None:
        _check(client, options)
        self.client = client
        self.options = options
        self._functions = functions_by_id(client, functions, options.form)
        self._declared_count = len(functions)
        self._answers = Answers(client.settings, framework=options.framework)
        self._refusals = RefusalLog(_log)
        self._not_registered = ""  # why, as it was logged: servers ask again every few seconds

    # --- before the body is read ---

    def refuse(self, head: Request) -> Response | None:
        """An answer to a request that will not be taken whatever its body is; None to go on."""
        try:
            self._admit(head)
        except StepwellError as error:
            if error.code == "method_not_allowed":
                answer = self._answers.refusal(error, Allow=", ".join(METHODS))
                if head.method == "HEAD":
                    return msgspec.structs.replace(answer, body=b"")
                return answer
            if isinstance(error, AuthError):
                self._refusals.tell(head.method, error)
            return self._answers.refusal(error)
        return None

    def bytes_max(self, method: str) -> int:
        """How much of a body is read; one byte more is enough to know that it is too long."""
        return {"POST": CALL_BYTES_MAX, "PUT": SYNC_BYTES_MAX}.get(method, 0)

    def too_large(self, method: str, seen: int) -> Response:
        """The answer to a body over the limit."""
        return self._answers.refusal(self._too_large(method, seen))

    def broken(self) -> Response:
        """The answer when something of ours has failed."""
        error = StepwellError("the request could not be answered; the app's log says why")
        return self._answers.refusal(error)

    def _admit(self, head: Request) -> None:
        method = head.method
        if method not in METHODS:
            raise WireError(
                f"{method} is not answered here; {', '.join(METHODS)} are",
                code="method_not_allowed",
                status=405,
            )
        if method != "POST":
            self._check_kind(head)
        announced = head.announced_bytes
        if method != "GET" and announced is not None and announced > self.bytes_max(method):
            raise self._too_large(method, announced)
        if not head.headers.get(_SIGNATURE) and not self._takes_unsigned(head):
            raise _unsigned()

    def _check_kind(self, head: Request) -> None:
        kind = head.headers.get(_SERVER_KIND)
        own = kind_of(self.client.settings)
        if kind and kind != own:
            mend = "set STEPWELL_DEV=1" if kind == "dev" else "give it STEPWELL_SIGNING_KEY"
            raise WireError(
                f"the server is of the kind {kind[:20]!r}, and this app is set up for {own!r}; "
                f"{mend} if the server is the right one",
                code="server_kind_mismatch",
                status=403 if head.method == "GET" else 400,
            )

    def _too_large(self, method: str, seen: int) -> LimitExceeded:
        return LimitExceeded(
            "the request's body is too large, in bytes",
            code="request_too_large",
            limit=self.bytes_max(method),
            seen=seen,
        )

    # --- the whole request ---

    def receive(self, request: Request, *, now_s: int) -> Response | Order:
        """The answer, or what has to be done for it."""
        if (refusal := self.refuse(request)) is not None:
            return refusal
        if request.method != "GET" and len(request.body) > self.bytes_max(request.method):
            return self.too_large(request.method, len(request.body))
        try:
            caller = self._caller(request, now_s)
        except AuthError as error:
            self._refusals.tell(request.method, error)
            return self._answers.refusal(error)
        match request.method:
            case "GET":
                return self._inspect(caller, now_s)
            case "PUT":
                return self._sync(request, caller, now_s)
            case _:
                return self._post(request, caller, now_s)

    def _caller(self, request: Request, now_s: int) -> Caller:
        """Who asks.

        Raises:
            AuthError: It must be verified, and is not.
        """
        settings = self.client.settings
        body = b"" if request.method == "GET" else request.body
        header = request.headers.get(_SIGNATURE)
        try:
            key = verify_json(body, header, keys=settings.signing_keys, now_s=now_s)
        except AuthError:
            if settings.is_production and (header or not self._takes_unsigned(request)):
                raise
            return Caller(key=None, is_trusted=not settings.is_production)
        return Caller(key=key, is_trusted=True)

    def _takes_unsigned(self, request: Request) -> bool:
        if not self.client.settings.is_production:
            return True
        return (
            request.method == "PUT"
            and self.options.takes_unsigned_sync
            and not self._wants_in_band(request)
        )

    # --- GET ---

    def _inspect(self, caller: Caller, now_s: int) -> Response:
        told = self._inspection(caller)
        return self._answers.to(caller, status=200, body=msgspec.json.encode(told), now_s=now_s)

    def _inspection(self, caller: Caller) -> dict[str, Any]:
        return inspection(
            app_id=self.client.app_id,
            settings=self.client.settings,
            options=self.options,
            function_count=self._declared_count,
            is_verified=caller.key is not None,
        )

    # --- PUT ---

    def _sync(self, request: Request, caller: Caller, now_s: int) -> Response | SyncOrder:
        url = self._url(request, caller)
        framework = self.options.framework
        functions = self._functions.values()
        if self._wants_in_band(request):
            body = in_band_body(
                self.client,
                functions,
                url=url,
                framework=framework,
                inspection=self._inspection(caller),
                environ=os.environ,
            )
            headers = {SYNC_KIND: IN_BAND}
            return self._answers.to(caller, status=200, body=body, now_s=now_s, headers=headers)
        return SyncOrder(
            caller=caller,
            deploy_id=request.query.get("deployId") or None,
            headers=register_headers(
                self.client, framework=framework, server_kind=request.headers.get(_SERVER_KIND)
            ),
            body=register_body(self.client, functions, url=url, framework=framework),
        )

    def _wants_in_band(self, request: Request) -> bool:
        return self.options.in_band and request.headers.get(SYNC_KIND.lower()) == IN_BAND

    def _url(self, request: Request, caller: Caller) -> str:
        """Where the server reaches this app: as configured, else as it was reached.

        A verified server's own word for the place comes before that of the request line, which a
        proxy may have changed.
        """
        origin, path = self.options.origin, self.options.path
        if origin is None and path is None and caller.key is not None:
            try:
                named = _URL.decode(request.body).get("url")
            except msgspec.DecodeError:
                named = None
            if isinstance(named, str) and named.startswith(("http://", "https://")):
                return named.partition("?")[0]
        return f"{origin or request.origin}{path or request.path}"

    def synced(
        self, order: SyncOrder, result: Registered | StepwellError, *, now_s: int
    ) -> Response:
        """The answer to a sync.

        Args:
            result: What the server said, or why it said nothing.
        """
        caller = order.caller
        try:
            if isinstance(result, StepwellError):
                raise result
            status, body = 200, accepted(result)
            self._not_registered = ""
        except StepwellError as error:
            if error.message != self._not_registered:
                _log.warning("the app is not registered: %s", error.message)
            self._not_registered = error.message
            if not caller.is_trusted:
                error = StepwellError(
                    "the app is not registered; its log says why",
                    code="registration_refused",
                    status=error.status,
                )
            status, body = error.status, error_body(error)
        headers = {SYNC_KIND: OUT_OF_BAND}
        return self._answers.to(caller, status=status, body=body, now_s=now_s, headers=headers)

    # --- POST ---

    def _post(self, request: Request, caller: Caller, now_s: int) -> Response | CallOrder:
        try:
            if (probe := request.query.get("probe")) is None:
                return self._read_call(request, caller)
            if probe != "trust":
                raise WireError(f"there is no probe {probe[:20]!r}; there is trust")
        except StepwellError as error:
            return self._answers.to(
                caller,
                status=error.status,
                body=error_body(error),
                now_s=now_s,
                headers={"X-Inngest-No-Retry": "false"},
            )
        return self._answers.to(caller, status=200, body=b"{}", now_s=now_s)

    def _read_call(self, request: Request, caller: Caller) -> CallOrder:
        """The call that a request brings.

        Raises:
            WireError: `call_invalid`.
            StepwellError: `function_not_found`.
        """
        slug = request.query.get("fnId")
        if not slug:
            raise WireError("the URL names no function: fnId is missing", code="call_invalid")
        function = self._functions.get(slug)
        if function is None:
            raise StepwellError(
                f"app {self.client.app_id!r} has no function {slug[:200]!r}",
                code="function_not_found",
            )
        return CallOrder(
            caller=caller,
            function=function,
            call=decode_call(request.body),
            step_id=request.query.get("stepId") or None,
            passed_on=passed_on(request.headers),
        )

    def called(self, order: CallOrder, outcome: Outcome, *, now_s: int) -> Response:
        """The answer to a call."""
        return self._answers.outcome(order, outcome, now_s=now_s)


def _unsigned() -> AuthError:
    return AuthError(f"the request has no {HEADER} header", code="signature_missing")


def _check(client: Client, options: ServeOptions) -> None:
    """Whether the client has what serving needs."""
    check_client(client, options.form)
    settings = client.settings
    if settings.is_production and not settings.signing_keys:
        raise ConfigError(
            "serving in production needs a signing key, or anybody could call the functions: pass "
            "signing_key= or set STEPWELL_SIGNING_KEY; for a development server set STEPWELL_DEV=1",
            code="signing_key_missing",
        )
