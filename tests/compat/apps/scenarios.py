"""The functions of all scenarios, for the official Python SDK and for ours.

    python scenarios.py fast_api 127.0.0.1:4321    or    python scenarios.py connect <instance id>

It prints one line of JSON when it is ready. The functions have the same ids, events and results in
every language.
"""

import asyncio
import datetime
import functools
import json
import os
import pathlib
import sys

import inngest
from inngest.connect import connect
from inngest.experimental.ai import openai

TRANSPORT, PLACE = sys.argv[1:3]
APP = "scenarios"
LEFT_OUT = os.environ.get("LEAVE_OUT", "").split(",")
client = inngest.Inngest(app_id=APP)
functions = []


def define(fn_id, *, trigger=None, **options):
    """A function whose event is named like it, unless `trigger` says otherwise."""

    def add(handler):
        if fn_id not in LEFT_OUT:
            start = trigger or inngest.TriggerEvent(event=fn_id)
            create = client.create_function(fn_id=fn_id, trigger=start, **options)
            functions.append(create(handler))
        return handler

    return add


def gives(value):
    """A step that gives this."""

    async def give():
        return value

    return give


def raises(error):
    """A step that fails with this."""

    async def fail():
        raise error

    return fail


def ms(number):
    return datetime.timedelta(milliseconds=number)


# --- steps ---


@define("echo")
async def echo(ctx):
    return await ctx.step.run("echo", gives(ctx.event.data.get("value")))


@define("one-step")
async def one_step(ctx):
    return {"a": await ctx.step.run("a", gives(7)), "attempt": ctx.attempt}


@define("large")
async def large(ctx):
    return sum([len(await ctx.step.run(i, gives("x" * 1_600_000))) for i in ("s0", "s1", "s2")])


@define("same-id")
async def same_id(ctx):
    return [await ctx.step.run("a", gives(number)) for number in range(3)]


@define("parallel")
async def parallel(ctx):
    left = functools.partial(ctx.step.run, "left", gives("l"))
    right = functools.partial(ctx.step.run, "right", gives("r"))
    return list(await ctx.group.parallel((left, right)))


@define("race")
async def race(ctx):
    async def branch():
        await ctx.step.run("a1", gives(1))
        await ctx.step.run("a2", gives(2))

    async def pause():
        await ctx.step.sleep("b", ms(2_000))

    await ctx.group.parallel((branch, pause), parallel_mode=inngest.ParallelMode.RACE)
    return "done"


@define("too-many", retries=0)
async def too_many(ctx):
    numbers = range(ctx.event.data["count"])
    steps = tuple(functools.partial(ctx.step.run, f"s{i}", gives(i)) for i in numbers)
    return len(await ctx.group.parallel(steps))


@define("many", retries=0)
async def many(ctx):
    for number in range(ctx.event.data["count"]):
        await ctx.step.run(f"s{number}", gives(number))
    return ctx.event.data["count"]


@define("hold")
async def hold(ctx):
    opened = pathlib.Path(ctx.event.data["path"])

    async def held():
        while not opened.exists():  # noqa: ASYNC110, ASYNC240 - another process opens it
            await asyncio.sleep(0.02)
        return 2

    before = await ctx.step.run("before", gives(1))
    return before + await ctx.step.run("hold", held) + await ctx.step.run("after", gives(3))


# --- errors ---


@define("fails")
@define("fails-0", retries=0)
@define("fails-50", retries=50)
async def fails(ctx):
    raise ValueError("no stock")


@define("never")
async def never(ctx):
    raise inngest.NonRetriableError("never")


@define("retry-after")
async def retry_after(ctx):
    if ctx.attempt == 0:
        raise inngest.RetryAfterError("busy", ms(2_000))
    return ctx.attempt


@define("step-retry-after")
async def step_retry_after(ctx):
    async def s():
        return await retry_after(ctx)

    return await ctx.step.run("s", s)


async def survive(ctx, error):
    caught = None
    try:
        await ctx.step.run("bad", raises(error))
    except inngest.StepError as failed:
        caught = failed.message
    return {"caught": caught, "after": await ctx.step.run("after", gives("went on"))}


@define("step-fails", retries=1)
async def step_fails(ctx):
    return await survive(ctx, ValueError("bad step"))


@define("step-never")
async def step_never(ctx):
    return await survive(ctx, inngest.NonRetriableError("bad step"))


async def on_failure(ctx):
    return ctx.event.data["error"]["message"]


async def on_failure_fails(ctx):
    raise inngest.NonRetriableError("the handler too")


define("failing", retries=0, on_failure=on_failure)(fails)
define("failing-twice", retries=0, on_failure=on_failure_fails)(fails)


# --- steps that the server resolves ---


@define("sleep")
async def sleep(ctx):
    data = ctx.event.data
    if "until" in data:
        await ctx.step.sleep_until("s", datetime.datetime.fromisoformat(data["until"]))
    else:
        await ctx.step.sleep("s", ms(data["ms"]))
    return "woke"


def received(event):
    return None if event is None else {"name": event.name, "data": dict(event.data)}


@define("wait")
async def wait(ctx):
    data = ctx.event.data
    event = await ctx.step.wait_for_event(
        "w", event=data["event"], if_exp=data.get("if"), timeout=ms(data["ms"])
    )
    return {"event": received(event)}


@define("send-and-wait")
async def send_and_wait(ctx):
    async def send():
        return await ctx.step.send_event(
            "send", inngest.Event(name="send-and-wait/e", data={"n": 1})
        )

    async def waiting():
        return await ctx.step.wait_for_event("w", event="send-and-wait/e", timeout=ms(20_000))

    _, event = await ctx.group.parallel((send, waiting))
    return {"event": received(event)}


@define("send", retries=0)
async def send(ctx):
    events = [inngest.Event(**event) for event in ctx.event.data["events"]]
    return await ctx.step.send_event("send", events)


@define("infer", retries=1)
async def infer(ctx):
    url = f"{ctx.event.data['url']}/v1"
    adapter = openai.Adapter(auth_key="test", base_url=url, model="test")
    body = {"messages": [{"role": "user", "content": "hello"}]}
    try:
        answer = await ctx.step.ai.infer("i", adapter=adapter, body=body)
    except inngest.StepError as error:
        return {"error": error.name}
    return {"said": answer["choices"][0]["message"]["content"]}


@define("invoke")
async def invoke(ctx):
    data = ctx.event.data
    try:
        result = await ctx.step.invoke_by_id(
            "i",
            function_id=data["function"],
            data=data["data"],
            timeout=ms(data["ms"]) if "ms" in data else None,
        )
    except inngest.StepError as error:
        return {"error": error.message, "name": error.name}
    return {"result": result}


@define("invoke-finish", timeouts=inngest.Timeouts(finish=ms(1_000)))
async def invoke_finish(ctx):
    return await ctx.step.invoke_by_id("i", function_id="child-slow", data={})


@define("child-ok")
async def child_ok(ctx):
    return {"got": ctx.event.data["n"]}


@define("child-null")
async def child_null(ctx):
    return None


@define("child-fails")
async def child_fails(ctx):
    raise inngest.NonRetriableError("child broke")


@define("child-slow")
async def child_slow(ctx):
    await ctx.step.sleep("s", ms(3_000))
    return "slow"


@define("child-stops", cancel=[inngest.Cancel(event="child-stops/stop")])
async def child_stops(ctx):
    await ctx.step.sleep("s", ms(30_000))
    return "not stopped"


# --- cancellation and timeouts ---

STOP = inngest.Cancel(event="cancellable/stop", if_exp="event.data.id == async.data.id")


@define("cancellable", cancel=[STOP])
async def cancellable(ctx):
    await ctx.step.sleep("s", ms(ctx.event.data["ms"]))
    return "finished"


@define("cancel-window", cancel=[inngest.Cancel(event="cancel-window/stop", timeout=ms(1_000))])
async def cancel_window(ctx):
    await ctx.step.wait_for_event("go", event="cancel-window/go", timeout=ms(30_000))
    return "finished"


@define("finish-timeout", timeouts=inngest.Timeouts(finish=ms(1_000)))
async def finish_timeout(ctx):
    await ctx.step.sleep("s", ms(30_000))
    return "finished"


# --- triggers ---


def on(event, expression=None):
    return inngest.TriggerEvent(event=event, expression=expression)


OF_ECHO = " || ".join(f"event.data.function_id == 'scenarios-{f}'" for f in ("echo", "never"))
BY_TRIGGER = {
    "wild-slash": on("wild/*"),
    "wild-dot": on("wilddot/b.*"),
    "two-triggers": [on("two/*"), on("two/a")],
    "expr-gt": on("expr", "event.data.n > 5"),
    "expr-lt": on("expr", "event.data.n < 5"),
    "expr-null": on("expr-null", "event.data.x == null"),
    "expr-not-null": on("expr-null", "event.data.x != null"),
    "expr-text": on("expr-text", "event.data.word"),
    "cron": inngest.TriggerCron(cron="* * * * *"),
    "on-timer": on("inngest/scheduled.timer"),
    "watch-failed": on("inngest/function.failed"),
    "watch-cancelled": on("inngest/function.cancelled"),
    "watch-echo": on("inngest/function.finished", OF_ECHO),
}


async def name(ctx):
    return ctx.event.name


for fn_id, trigger in BY_TRIGGER.items():
    define(fn_id, trigger=trigger)(name)

BAD = {
    "expression": on("bad", "event.data.("),
    "zone": inngest.TriggerCron(cron="TZ=Mars/Olympus 0 0 * * *"),
    "daily": inngest.TriggerCron(cron="@daily"),
}
if bad := os.environ.get("BAD"):
    define("bad", trigger=BAD[bad])(name)


# --- the transports ---


def ready(**facts):
    print(json.dumps({"ready": True, **facts}), flush=True)


async def work():
    connection = connect(apps=[(client, functions)], instance_id=PLACE)
    started = asyncio.create_task(connection.start())
    ready()
    await started


def serve():
    host, port = PLACE.split(":")
    url = f"http://{host}:{port}/api/inngest"
    if TRANSPORT == "flask":
        import flask
        import inngest.flask
        from werkzeug.serving import make_server

        app = flask.Flask(__name__)
        inngest.flask.serve(app, client, functions)
        server = make_server(host, int(port), app, threaded=True)
        ready(url=url)
        server.serve_forever()
        return

    import uvicorn

    if TRANSPORT == "django":
        import django
        import inngest.django
        from django.conf import settings
        from django.core.asgi import get_asgi_application

        settings.configure(
            ALLOWED_HOSTS=["*"],
            DATA_UPLOAD_MAX_MEMORY_SIZE=None,  # calls have up to 4 MiB; the default is 2.5 MB
            ROOT_URLCONF=__name__,
            SECRET_KEY="scenarios",
        )
        django.setup()
        globals()["urlpatterns"] = [inngest.django.serve(client, functions)]
        app = get_asgi_application()
    else:
        import fastapi
        import inngest.fast_api

        app = fastapi.FastAPI()
        inngest.fast_api.serve(app, client, functions)
        inngest.fast_api.serve(
            app,
            client,
            functions,
            serve_path="/api/streamed",
            streaming=inngest.Streaming.FORCE,
        )

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            ready(url=url)

    Server(uvicorn.Config(app, host=host, port=int(port), log_level="warning")).run()


if TRANSPORT == "connect":
    asyncio.run(work())
else:
    serve()
