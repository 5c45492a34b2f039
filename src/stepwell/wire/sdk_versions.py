"""Versions of SDKs that are known to be dangerous.

Source: docs/reference/wire/registration.md, "SDK versions".
"""

from __future__ import annotations

import re

_VERSION = re.compile(r"(?:inngest-)?(?P<language>[a-z]+):v?(\d{1,5})\.(\d{1,5})\.(\d{1,5})")

_DENIED = {"js": ((3, 22, 0), (3, 53, 1))}
"""By language: the first and the last version of a range."""


def danger(sdk: str) -> str | None:
    """What to say of an SDK's version, None if nothing is known against it.

    Args:
        sdk: As an app names it, such as `js:v3.30.0`.
    """
    found = _VERSION.match(sdk.strip().lower())
    if found is None:
        return None
    language, *numbers = found.groups()
    version = tuple(map(int, numbers))
    if language not in _DENIED:
        return None
    first, last = _DENIED[language]
    if not first <= version <= last:
        return None
    return (
        f"the app's SDK is {sdk}, and versions {_text(first)} to {_text(last)} of it have a known "
        f"security defect; upgrade it beyond {_text(last)}"
    )


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
