"""A Flask program that serves a durable function. It needs a server: `stepwell dev`.

Then, in two more terminals:

    python examples/serve_flask.py
    stepwell send report.requested '{"month": "2026-08"}'
"""

import os

from flask import Flask

import stepwell
import stepwell.flask

client = stepwell.Client(app_id="hello-flask")
app = Flask(__name__)


@client.create_function(
    fn_id="monthly-report",
    trigger=stepwell.TriggerEvent(event="report.requested"),
)
def monthly_report(ctx: stepwell.ContextSync) -> str:
    month = ctx.event.data["month"]
    lines = ctx.step.run("count-lines", lambda: 31)
    return f"{lines} lines for {month}"


stepwell.flask.serve(app, client, [monthly_report])

if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "5000")))
