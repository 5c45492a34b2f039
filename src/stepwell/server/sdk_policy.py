"""Whether an app's SDK is taken: a dangerous version is a warning in development, and refused
elsewhere unless the operator allows it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from stepwell.errors import WireError
from stepwell.wire.sdk_versions import danger

if TYPE_CHECKING:
    from stepwell.server.settings import Settings
    from stepwell.wire.functions import Registration

_log = logging.getLogger(__name__)


class SdkPolicy:
    """Looks at each registration before it is put in force."""

    def __init__(self, settings: Settings) -> None:
        self._refuses = settings.mode == "start" and not settings.allow_vulnerable_sdks
        self._warned: set[tuple[str, str]] = set()

    def admit(self, registration: Registration) -> None:
        """Let it pass, perhaps with a warning: one for each app and version.

        Raises:
            WireError: `sdk_version_denied`.
        """
        text = danger(registration.sdk)
        if text is None:
            return
        if self._refuses:
            raise WireError(
                f"{text}, or start the server with --allow-vulnerable-sdks",
                code="sdk_version_denied",
            )
        seen = (registration.app_name, registration.sdk)
        if seen not in self._warned:
            self._warned.add(seen)
            _log.warning("%s", text, extra={"app": registration.app_name})
