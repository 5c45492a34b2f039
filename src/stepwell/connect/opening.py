"""Opening a socket to a gateway: where it is, the socket, and the first message on it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stepwell.connect.hello import build_hello
from stepwell.connect.http import ServerUnreachable
from stepwell.errors import ConfigError, StepwellError

if TYPE_CHECKING:
    from stepwell.connect.plan import Plan
    from stepwell.connect.session import SyncFailed
    from stepwell.wire.connect import StartResponse

INTERNAL_ERROR = "connect_internal_error"
TOO_MANY_APPS = "connect_too_many_apps_per_connection"


def hello_of(plan: Plan, start: StartResponse) -> bytes:
    """What the worker says of itself on the connection that a start request was answered with."""
    return build_hello(
        start,
        apps=plan.apps,
        instance_id=plan.instance_id,
        env=plan.env,
        max_worker_concurrency=plan.max_worker_concurrency,
    )


def endpoint_of(plan: Plan, start: StartResponse) -> str:
    """The address to dial: what the server says, as the program rewrites it.

    Raises:
        ConfigError: The program's rewriting fails, or gives no address.
        ServerUnreachable: The server gave none, which it may mend.
    """
    url = start.gateway_endpoint
    if (rewrite := plan.rewrite_gateway_endpoint) is not None:
        try:
            url = rewrite(url)
        except Exception as error:  # the program's own function
            raise ConfigError(f"rewrite_gateway_endpoint failed: {error!r}") from error
    if _is_gateway_address(url):
        return url
    text = f"the gateway's address {url!r} is not one; it must look like ws://host:8289/v0/connect"
    if rewrite is None:
        raise ServerUnreachable(text)
    raise ConfigError(text, code="url_invalid")


def too_many_apps(plan: Plan) -> ConfigError:
    """What to raise when a gateway does not take so many apps."""
    return ConfigError(
        f"the server takes fewer than {len(plan.apps)} apps on one connection", code=TOO_MANY_APPS
    )


def sync_error(failure: SyncFailed) -> StepwellError:
    """What a refused registration means: a mistake of the program's, or trouble of the server's."""
    text = f"the server refused the functions of this worker: {failure.message or failure.code}"
    if failure.code == INTERNAL_ERROR:
        return ServerUnreachable(text)
    return ConfigError(text, code=failure.code or "registration_refused")


def _is_gateway_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, a port or a host that cannot be one
        return False
