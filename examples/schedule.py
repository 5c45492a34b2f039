"""Functions that run at the times of a schedule. The first can be started by hand too.

With a server (`stepwell dev`), in two more terminals:

    python examples/schedule.py
    stepwell send report.wanted '{"day": "2026-08-20"}'
"""

from datetime import timedelta

import stepwell
from stepwell.connect import connect

client = stepwell.Client(app_id="nightly")


@client.function("daily-report", cron="TZ=Europe/Paris 0 3 * * 1-5", event="report.wanted")
async def daily_report(ctx: stepwell.Context) -> str:
    if ctx.event.name == "inngest/scheduled.timer":
        day = ctx.event.data["scheduledAt"][:10]  # when it was due, whenever it runs
    else:
        day = ctx.event.data["day"]
    return f"report for {day}"


@client.create_function(
    fn_id="clean-up",
    trigger=[
        stepwell.TriggerCron("30 4 * * *", jitter=timedelta(minutes=2)),
        stepwell.TriggerCron("TZ=Europe/Paris 0 12 * * 0"),
    ],
)
def clean_up(ctx: stepwell.ContextSync) -> str:
    return ctx.step.run("delete", lambda: "deleted")


if __name__ == "__main__":
    connect(apps=[(client, [daily_report, clean_up])]).run()
