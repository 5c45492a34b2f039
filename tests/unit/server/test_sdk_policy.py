from __future__ import annotations

import pytest

from stepwell.errors import WireError
from stepwell.server.sdk_policy import SdkPolicy
from stepwell.server.settings import Settings
from stepwell.wire.functions import Registration, parse_register
from stepwell.wire.json import encode


def app(sdk: str) -> Registration:
    return parse_register(encode({"appName": "shop", "sdk": sdk, "functions": []}))


def test_start_refuses_and_says_how_to_go_on() -> None:
    policy = SdkPolicy(Settings(mode="start"))
    policy.admit(app("js:v4.0.0"))
    with pytest.raises(WireError, match="--allow-vulnerable-sdks") as refused:
        policy.admit(app("js:v3.30.0"))
    assert refused.value.code == "sdk_version_denied"


@pytest.mark.parametrize(
    "settings", [Settings(), Settings(mode="start", allow_vulnerable_sdks=True)]
)
def test_what_is_allowed_is_a_warning_once(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    policy = SdkPolicy(settings)
    for sdk in ("js:v3.30.0", "js:v3.30.0", "js:v3.31.0"):
        policy.admit(app(sdk))
    assert len(caplog.records) == 2
