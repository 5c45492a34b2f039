"""Providers of AI, for `ctx.step.ai.infer`: the server makes the request, the run waits for it.

Source: docs/reference/wire/waits.md, "Gateway and AIGateway".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from stepwell.codec import restore, serialise
from stepwell.errors import ConfigError
from stepwell.step_options import Asked
from stepwell.wire import ops as op_names


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """Where a provider is, and how it is spoken to.

    Attributes:
        url: Of the request.
        auth_key: The provider's key; it goes where `format` says.
        format: `openai-chat`, `anthropic`, `gemini` or `bedrock`.
        headers: Sent beside those that the format needs.
        defaults: What the body says unless `infer` is given something else.
    """

    url: str
    auth_key: str
    format: str = "openai-chat"
    headers: dict[str, str] = {}
    defaults: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Adapter {self.format} at {self.url}>"  # without the key


def openai(model: str, *, auth_key: str, base_url: str = "https://api.openai.com/v1") -> Adapter:
    """OpenAI's chat completions, or a server that speaks the same."""
    return Adapter(
        url=f"{base_url.rstrip('/')}/chat/completions",
        auth_key=auth_key,
        defaults={"model": model},
    )


def anthropic(
    model: str,
    *,
    auth_key: str,
    max_tokens: int,
    base_url: str = "https://api.anthropic.com/v1",
    version: str = "2023-06-01",
) -> Adapter:
    """Anthropic's messages."""
    return Adapter(
        url=f"{base_url.rstrip('/')}/messages",
        auth_key=auth_key,
        format="anthropic",
        headers={"anthropic-version": version},
        defaults={"model": model, "max_tokens": max_tokens},
    )


def gemini(
    model: str,
    *,
    auth_key: str,
    base_url: str = "https://generativelanguage.googleapis.com/v1beta",
) -> Adapter:
    """Google's Gemini."""
    return Adapter(
        url=f"{base_url.rstrip('/')}/models/{model}:generateContent",
        auth_key=auth_key,
        format="gemini",
    )


def inference(adapter: Adapter, body: Mapping[str, Any]) -> Asked:
    """`step.ai.infer` as an operation."""
    if not isinstance(adapter, Adapter):
        raise ConfigError(
            "infer needs an adapter, such as stepwell.ai.openai(...), not a "
            f"{type(adapter).__name__}"
        )
    if not isinstance(body, Mapping):
        raise ConfigError(f"the body of infer is an object, this is a {type(body).__name__}")
    options = {
        "auth_key": adapter.auth_key,
        "body": msgspec.Raw(serialise({**adapter.defaults, **body})),
        "format": adapter.format,
        "headers": adapter.headers,
        "type": "step.ai.infer",
        "url": adapter.url,
    }
    return Asked(op_names.AI_GATEWAY, msgspec.Raw(msgspec.json.encode(options)))


def read_inference(value: Any) -> dict[str, Any]:
    """What the provider answered.

    Raises:
        StepwellError: `output_invalid`, if it is no object.
    """
    answer: dict[str, Any] = restore(value, dict[str, Any])
    return answer
