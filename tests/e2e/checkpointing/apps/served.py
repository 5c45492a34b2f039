"""What follows the functions of eager.py in a program that serves them over HTTP."""

import os
from typing import Any

functions: list[Any] = globals()["functions"]
client: Any = globals()["client"]

port = int(os.environ["PORT"])
if os.environ["FRAMEWORK"] == "fast_api":
    import uvicorn
    from fastapi import FastAPI

    import stepwell.fast_api

    app = FastAPI()
    stepwell.fast_api.serve(app, client, functions)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", ws="none")
else:
    import flask

    import stepwell.flask

    program = flask.Flask("eager")
    stepwell.flask.serve(program, client, functions)
    program.run("127.0.0.1", port, threaded=True)
