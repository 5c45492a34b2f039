import asyncio
import datetime
import threading

import inngest
import stage
from inngest.connect import connect

client = inngest.Inngest(app_id=stage.APP)


@client.create_function(
    fn_id="report", trigger=inngest.TriggerEvent(event=f"{stage.APP}/report"), retries=1
)
def report(ctx: inngest.ContextSync) -> dict[str, object]:
    def load() -> int:
        stage.ran("load", main=threading.current_thread() is threading.main_thread())
        return 20

    def double(number: int) -> int:
        if ctx.attempt == 0:
            raise ValueError("once")
        return 2 * number

    number = ctx.step.run("load", load)
    ctx.step.sleep("pause", datetime.timedelta(milliseconds=1_000))
    doubled = ctx.step.run("double", double, number)
    left, right = ctx.group.parallel(
        (
            lambda: ctx.step.run("left", lambda: "l"),
            lambda: ctx.step.run("right", lambda: "r"),
        )
    )
    sent = ctx.step.send_event("send", inngest.Event(name=f"{stage.APP}/other", data={"n": 1}))
    return {"doubled": doubled, "sides": [left, right], "sent": sent}


@client.create_function(fn_id="other", trigger=inngest.TriggerEvent(event=f"{stage.APP}/other"))
def other(ctx: inngest.ContextSync) -> str:
    return "sync too"


@client.create_function(fn_id="block", trigger=inngest.TriggerEvent(event=f"{stage.APP}/block"))
def block(ctx: inngest.ContextSync) -> str:
    def wait() -> str:
        stage.gate_sync("block")
        return "went on"

    return ctx.step.run("wait", wait)


asyncio.run(connect(apps=[(client, [report, other, block])], instance_id=stage.INSTANCE).start())
