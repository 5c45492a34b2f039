"""Functions that block: declared without `async`, each call runs on a thread.

python examples/sync_worker.py
stepwell send report.requested '{"month": "2026-08"}'
"""

import stepwell
from stepwell.connect import connect

client = stepwell.Client(app_id="reports")


def count_lines(month: str) -> int:
    # A database driver that blocks, a long computation: neither costs the worker its connection.
    return sum(1 for day in range(1, 32) if f"{month}-{day:02d}")


@client.create_function(
    fn_id="monthly-report",
    trigger=stepwell.TriggerEvent(event="report.requested"),
)
def monthly_report(ctx: stepwell.ContextSync) -> dict[str, object]:
    month = ctx.event.data["month"]
    lines = ctx.step.run("count-lines", count_lines, month)
    title, footer = ctx.group.parallel(
        (
            lambda: ctx.step.run("title", lambda: f"Report for {month}"),
            lambda: ctx.step.run("footer", lambda: f"{lines} lines"),
        )
    )
    return {"title": title, "footer": footer}


if __name__ == "__main__":
    # At most four calls at a time on this worker; the server keeps the others for later.
    connect(apps=[(client, [monthly_report])], max_worker_concurrency=4).run()
