"""A Django project in one file that serves a durable function. It needs a server: `stepwell dev`.

Then, in two more terminals:

    python examples/serve_django.py
    stepwell send invoice.due '{"invoice_id": 3}'
"""

import os

import django
from django.conf import settings
from django.core.management import execute_from_command_line

import stepwell
import stepwell.django

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for this example",
)
django.setup()

client = stepwell.Client(app_id="hello-django")


@client.create_function(
    fn_id="charge",
    trigger=stepwell.TriggerEvent(event="invoice.due"),
)
def charge(ctx: stepwell.ContextSync) -> str:
    invoice_id = ctx.event.data["invoice_id"]
    return ctx.step.run("charge-card", lambda: f"invoice {invoice_id} is paid")


urlpatterns = [
    stepwell.django.serve(client, [charge]),
]

if __name__ == "__main__":
    port = os.environ.get("PORT", "8000")
    execute_from_command_line(["serve_django.py", "runserver", "--noreload", port])
