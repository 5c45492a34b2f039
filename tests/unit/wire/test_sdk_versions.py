from __future__ import annotations

import pytest

from stepwell.wire.sdk_versions import danger


@pytest.mark.parametrize(
    ("sdk", "denied"),
    [
        ("js:v3.22.0", True),
        ("js:v3.53.1", True),
        ("inngest-js:v3.34.1", True),
        ("js:3.45.1-beta.1", True),
        ("js:v3.21.9", False),
        ("js:v3.53.2", False),
        ("js:v4.18.1", False),
        ("py:v3.30.0", False),
        ("go:v0.16.0", False),
        ("", False),
        ("js", False),
        ("js:vX", False),
    ],
)
def test_versions_with_a_known_defect(sdk: str, denied: bool) -> None:
    text = danger(sdk)
    assert (text is not None) is denied
    assert text is None or sdk in text
