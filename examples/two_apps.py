"""Two apps, each with its functions, on one connection.

Then, in other terminals:

    python examples/two_apps.py
    stepwell send invoice.due '{"invoice_id": 3}'
"""

import stepwell
from stepwell.connect import connect

billing = stepwell.Client(app_id="billing")
mail = stepwell.Client(app_id="mail")


# The short form, for a function with nothing but its id and its event.
@billing.function("charge", event="invoice.due")
async def charge(ctx: stepwell.Context) -> int:
    invoice_id: int = ctx.event.data["invoice_id"]

    async def collect() -> int:
        return invoice_id

    charged = await ctx.step.run("collect", collect)
    await ctx.step.send_event(
        "announce", stepwell.Event(name="invoice.paid", data={"invoice_id": charged})
    )
    return charged


@mail.function("confirm", event="invoice.paid")
async def confirm(ctx: stepwell.Context) -> str:
    invoice_id = ctx.event.data["invoice_id"]
    return await ctx.step.run("write", lambda: f"invoice {invoice_id} is paid")


if __name__ == "__main__":
    connection = connect(apps=[(billing, [charge]), (mail, [confirm])])
    connection.run()
