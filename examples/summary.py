"""Asking a provider of AI, and any other address, without holding anything meanwhile.

With a server (`stepwell dev`), in two more terminals:

    export OPENAI_API_KEY=...
    python examples/summary.py
    stepwell send text.written '{"text": "A long story."}'
"""

import json
import os
from dataclasses import dataclass

import stepwell
from stepwell import ai
from stepwell.connect import connect

client = stepwell.Client(app_id="texts")

gpt = ai.openai(
    "gpt-4o-mini",
    auth_key=os.environ["OPENAI_API_KEY"],
    base_url=os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
)


@dataclass
class Rating:
    words: int


async def rate(text: str) -> Rating:
    return Rating(words=len(text.split()))  # here your own client of some provider is called


@client.function("summarise", event="text.written")
async def summarise(ctx: stepwell.Context) -> str:
    answer = await ctx.step.ai.infer(
        "summarise",
        adapter=gpt,
        body={
            "messages": [
                {"role": "system", "content": "Summarise in one sentence."},
                {"role": "user", "content": ctx.event.data["text"]},
            ]
        },
    )
    summary: str = answer["choices"][0]["message"]["content"]
    rating = await ctx.step.ai.wrap("rate", rate, summary, output_type=Rating)
    if "HOOK_URL" in os.environ:
        told = await ctx.step.fetch(
            "tell",
            os.environ["HOOK_URL"],
            method="POST",
            headers={"Content-Type": "application/json"},
            body=json.dumps({"summary": summary}),
        )
        ctx.logger.info("the hook answered %s", told.status_code)
    return f"{summary} ({rating.words} words)"


if __name__ == "__main__":
    connect(apps=[(client, [summarise])]).run()
