"""Steps that ask providers of AI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from stepwell import ai
from tests.unit.calls import (
    call_async,
    call_both,
    call_sync,
    error_of,
    memos,
    named,
    ops_of,
    result_of,
)

if TYPE_CHECKING:
    from stepwell.context import Context, ContextSync

OPENAI = ai.openai("gpt-4o-mini", auth_key="sk-1")
BODY = {"messages": [{"role": "user", "content": "hello"}]}


class Reply(msgspec.Struct):
    text: str


def infers(ctx: Any, adapter: Any = OPENAI, body: Any = BODY) -> Any:
    return ctx.step.ai.infer("ask", adapter=adapter, body=body)


def wraps(ctx: Any, **options: Any) -> Any:
    async def ask(text: str) -> Any:
        return {"text": text}

    handler = ask if type(ctx).__name__ == "Context" else lambda text: {"text": text}
    return ctx.step.ai.wrap("ask", handler, "hello", **options)


# --- infer ---


def test_inference_says_what_to_ask_whom() -> None:
    [op] = ops_of(call_both(infers))

    assert (op["op"], op["userland"]) == ("AIGateway", {"id": "ask"})
    assert op["opts"] == {
        "type": "step.ai.infer",
        "url": "https://api.openai.com/v1/chat/completions",
        "format": "openai-chat",
        "auth_key": "sk-1",
        "headers": {},
        "body": {"model": "gpt-4o-mini", **BODY},
    }


def test_body_wins_over_what_the_adapter_says() -> None:
    [op] = ops_of(call_both(lambda ctx: infers(ctx, body={"model": "other"})))

    assert op["opts"]["body"] == {"model": "other"}


@pytest.mark.parametrize(
    ("adapter", "options"),
    [
        (
            ai.openai("m", auth_key="k", base_url="http://127.0.0.1:1/v1/"),
            {"url": "http://127.0.0.1:1/v1/chat/completions", "format": "openai-chat"},
        ),
        (
            ai.anthropic("m", auth_key="k", max_tokens=100),
            {
                "url": "https://api.anthropic.com/v1/messages",
                "format": "anthropic",
                "headers": {"anthropic-version": "2023-06-01"},
                "body": {"model": "m", "max_tokens": 100},
            },
        ),
        (
            ai.gemini("m", auth_key="k"),
            {
                "url": "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
                "format": "gemini",
                "body": {},
            },
        ),
        (
            ai.Adapter(url="http://127.0.0.1:1/x", auth_key="k", format="bedrock"),
            {"url": "http://127.0.0.1:1/x", "format": "bedrock"},
        ),
    ],
)
def test_providers_are_asked_in_their_own_way(adapter: ai.Adapter, options: dict[str, Any]) -> None:
    [op] = ops_of(call_both(lambda ctx: infers(ctx, adapter, {})))

    assert options.items() <= op["opts"].items()
    assert op["opts"]["auth_key"] == "k"


def test_inference_gives_the_provider_s_answer() -> None:
    assert result_of(call_both(infers, memos(ask={"data": {"choices": []}}))) == {"choices": []}


@pytest.mark.parametrize("memo", [None, {"data": "text"}, {"data": [1]}])
def test_memo_that_is_no_answer_is_told(memo: Any) -> None:
    assert error_of(call_both(infers, memos(ask=memo)))["code"] == "output_invalid"


def test_refused_inference_raises() -> None:
    steps = memos(ask={"error": {"name": "AIGatewayError", "message": "quota"}})

    assert error_of(call_both(infers, steps))["message"] == "quota"


def test_inferences_of_a_group_begin_together() -> None:
    def story(ctx: Any) -> Any:
        ask = ctx.step.ai.infer
        branches = [lambda n=n: ask(f"ask-{n}", adapter=OPENAI, body=BODY) for n in range(2)]
        return ctx.group.race(branches)

    ops = ops_of(call_both(story))
    assert [op["op"] for op in ops] == ["AIGateway", "AIGateway"]
    assert {op["opts"]["parallelMode"] for op in ops} == {"race"}
    assert ops[0]["opts"]["body"]["model"] == "gpt-4o-mini"


@pytest.mark.parametrize("adapter", [None, "openai", {"url": "x"}])
def test_inference_needs_an_adapter(adapter: Any) -> None:
    outcome = call_both(lambda ctx: infers(ctx, adapter))

    assert error_of(outcome)["message"].startswith("infer needs an adapter")
    assert outcome.no_retry


@pytest.mark.parametrize("body", [None, "hello", [1]])
def test_body_is_an_object(body: Any) -> None:
    outcome = call_both(lambda ctx: infers(ctx, OPENAI, body))

    assert error_of(outcome)["message"].startswith("the body of infer is an object")
    assert outcome.no_retry


def test_key_is_not_shown() -> None:
    assert repr(OPENAI) == "<Adapter openai-chat at https://api.openai.com/v1/chat/completions>"


# --- wrap ---


def test_own_call_runs_as_a_step() -> None:
    [op] = ops_of(call_both(wraps))

    assert (op["op"], op["data"], op["opts"]) == (
        "StepRun",
        {"text": "hello"},
        {"type": "step.ai.wrap"},
    )
    [op] = ops_of(call_both(wraps, plan_only=True))
    assert (op["op"], op["opts"]) == ("StepPlanned", {"type": "step.ai.wrap"})


def test_own_call_is_not_made_again() -> None:
    assert result_of(call_both(wraps, memos(ask={"data": "before"}))) == "before"


def test_own_call_gives_its_result_in_its_type() -> None:
    seen: list[Any] = []

    async def handler(ctx: Context) -> None:
        seen.append(await wraps(ctx, output_type=Reply))

    def handler_sync(ctx: ContextSync) -> None:
        seen.append(wraps(ctx, output_type=Reply))

    steps = memos(ask={"data": {"text": "hi"}})
    call_async(handler, steps)
    call_sync(handler_sync, steps)
    assert seen == [Reply("hi")] * 2


def test_run_that_begins_at_an_own_call_brings_its_arguments() -> None:
    [op] = ops_of(call_both(wraps, memos(ask={"input": ["other"]})))

    assert op["data"] == {"text": "other"}


def test_own_call_that_fails_is_tried_again() -> None:
    def fails() -> Any:
        raise ValueError("busy")

    assert named(call_both(lambda ctx: ctx.step.ai.wrap("ask", fails))) == [("StepError", "ask")]


def test_own_call_wants_a_function() -> None:
    outcome = call_both(lambda ctx: ctx.step.ai.wrap("ask", cast("Any", 5)))

    assert "needs a function and was given a int" in error_of(outcome)["message"]


def test_async_call_in_a_sync_function_is_refused() -> None:
    async def ask() -> int:
        return 1

    [op] = ops_of(call_sync(lambda ctx: ctx.step.ai.wrap("ask", ask)))

    assert (op["op"], op["error"]["name"]) == ("StepFailed", "ConfigError")


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize(("call", "method"), [(infers, "infer"), (wraps, "wrap")])
def test_ai_wants_its_await(call: Any, method: str) -> None:
    async def handler(ctx: Context) -> None:
        call(ctx)

    assert f"`await ctx.step.ai.{method}('ask', ...)`" in error_of(call_async(handler))["message"]
