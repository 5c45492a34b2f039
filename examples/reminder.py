"""A run that an event cancels, and that may not take for ever.

With a server (`stepwell dev`), in two more terminals:

    python examples/reminder.py
    stepwell send invoice.sent '{"invoice_id": 1}'
    stepwell send invoice.paid '{"invoice_id": 1}'
"""

from datetime import timedelta

import stepwell
from stepwell.connect import connect

client = stepwell.Client(app_id="reminders")


async def remind(invoice_id: int) -> str:
    return f"reminded of invoice {invoice_id}"


@client.function(
    "remind",
    event="invoice.sent",
    cancel=[
        stepwell.Cancel(
            "invoice.paid",
            if_exp="event.data.invoice_id == async.data.invoice_id",
        )
    ],
    timeouts=stepwell.Timeouts(start=timedelta(hours=1), finish=timedelta(days=30)),
)
async def remind_of_invoice(ctx: stepwell.Context) -> str:
    await ctx.step.sleep("two-weeks", timedelta(weeks=2))
    return await ctx.step.run("remind", remind, ctx.event.data["invoice_id"])


if __name__ == "__main__":
    connect(apps=[(client, [remind_of_invoice])]).run()
