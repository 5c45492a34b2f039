"""Asking the API by GraphQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from tests.unit.server.api.bench import Api

PATH = "/v0/gql"


async def ask(api: Api, query: str, /, **variables: Any) -> dict[str, Any]:
    """The whole body of an answer with the status 200."""
    body = msgspec.json.encode({"query": query, "variables": variables})
    answer = await api.post(PATH, body, content_type="application/json")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


async def data(api: Api, query: str, /, **variables: Any) -> Any:
    """What was asked for; there are no errors."""
    answer = await ask(api, query, **variables)
    assert "errors" not in answer, answer["errors"]
    return answer["data"]


async def error(api: Api, query: str, /, **variables: Any) -> tuple[str, str, list[Any]]:
    """The code, the message and the path of the only error."""
    answer = await ask(api, query, **variables)
    (found,) = answer["errors"]
    return found["extensions"]["code"], found["message"], found.get("path", [])
