"""The Python blocks as programs, for the official SDK and, with other import lines, for ours.

A block that is no whole program gets the first block in front, without that block's last statement.
"""

from __future__ import annotations

from tests.docs.seed_blocks import Snippet, Substitution, printed, substituted

SUBSTITUTIONS = (
    Substitution("import inngest\n", "import stepwell as inngest\n", "stepwell"),
    Substitution(
        "from inngest.connect import connect\n",
        "from stepwell.connect import connect\n",
        "stepwell",
    ),
    # A misprint: two `asyncio.run` in a row, of which the first never returns.
    Substitution(
        "# Connection 1 with different concurrency limit\nasyncio.run(\n",
        "async def main() -> None:\n    await asyncio.gather(\n",
    ),
    Substitution(
        ").start()\n)\n\n# Connection 2 with different concurrency limit\nasyncio.run(\n",
        ").start(),\n",
    ),
    Substitution(
        "        max_worker_concurrency=20,\n    ).start()\n)\n",
        "        max_worker_concurrency=20,\n    ).start(),\n    )\n\n\nasyncio.run(main())\n",
    ),
)

SNIPPETS = (
    Snippet(name="connect_getting_started", place="program"),
    Snippet(
        name="connect_worker_concurrency",
        connections=({"instanceId": "example-worker", "maxWorkerConcurrency": 10},),
    ),
    Snippet(
        name="connect_connection_level_concurrency",
        connections=(
            {"instanceId": "worker-1-conn-1", "maxWorkerConcurrency": 50},
            {"instanceId": "worker-1-conn-2", "maxWorkerConcurrency": 20},
        ),
    ),
)

_FIRST = "connect_getting_started.py"
_MAIN = "asyncio.run(\n"


def program(snippet: Snippet, sdk: str) -> str:
    """The block as a program for this SDK."""
    text = printed(f"{snippet.name}.py")
    if snippet.place == "fragment":
        head, found, _ = printed(_FIRST).partition(_MAIN)
        assert found, f"{_FIRST} has no {_MAIN!r}"
        text = head + text
    return substituted(text, SUBSTITUTIONS, sdk)
