"""A function that runs on after its steps, and a group whose branches run in one call.

    python examples/checkpointed.py
    stepwell send album.uploaded '{"album_id": 5, "photos": ["sea", "hill", "town"]}'

The server calls the function once; without checkpointing it would be called for each step.
"""

from functools import partial

import stepwell
from stepwell.checkpointing import BLENDED
from stepwell.connect import connect

client = stepwell.Client(app_id="album", checkpointing=True)


async def shrink(photo: str) -> str:
    return f"{photo} small"


async def charge(album_id: int) -> str:
    return f"receipt-{album_id}"


@client.function("make-album", event="album.uploaded", checkpointing=BLENDED)
async def make_album(ctx: stepwell.Context) -> dict[str, object]:
    photos: list[str] = ctx.event.data["photos"]
    small = await ctx.group.parallel(
        [partial(ctx.step.run, f"shrink {photo}", shrink, photo) for photo in photos]
    )
    receipt = await ctx.step.run("charge", charge, ctx.event.data["album_id"], durable=True)
    return {"photos": list(small), "receipt": receipt}


if __name__ == "__main__":
    connect(apps=[(client, [make_album])]).run()
