"""The TypeScript blocks as programs, in a directory where the SDK is found.

A block that is no whole program stands where the page means it: in place of the client of the first
block, after the client and the function of the first block, or after a connection. They get the
list `functions`, which the page names but never makes. The client and the function of the page
about checkpointing take the place of those of the first block; its function gets two steps.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tests.compat.languages import CACHE, NODE
from tests.docs.seed_blocks import Snippet, Substitution, printed, replaced, substituted

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = CACHE / "compat/tools/node_modules"
BUN, TSC = TOOLS / ".bin/bun", TOOLS / ".bin/tsc"

SUBSTITUTIONS = (
    # What the page leaves out of every block but the first.
    Substitution("apps: [...],", "apps: [{ client: inngest, functions }],"),
    # The page is for version 3; in version 4 the triggers are among the options.
    Substitution(
        '  { id: "handle-signup" },\n  { event: "user.created" },\n',
        '  { id: "handle-signup", triggers: [{ event: "user.created" }] },\n',
        "v4",
    ),
    Substitution(
        '    checkpointing: true,\n  },\n  { event: "app/my.event" },\n',
        '    checkpointing: true,\n    triggers: [{ event: "app/my.event" }],\n  },\n',
        "v4",
    ),
    # What the page leaves to its reader.
    Substitution(
        "    // steps here will be checkpointed\n",
        '    console.log("Function called");\n'
        '    const one = await step.run("one", () => 1);\n'
        '    return one + (await step.run("two", () => 2));\n',
    ),
    # Node wants the ending of a file.
    Substitution('from "./src/inngest"', 'from "./src/inngest.ts"'),
)

_FIRST = "connect_getting_started.ts"
_CLIENT = 'const inngest = new Inngest({\n  id: "my-app",\n});\n'
_MAIN = "(async () => {\n"
_FUNCTIONS = "const functions = [handleSignupFunction];\n\n"
_EXPORTS = "export { inngest, functions };\n"
_IMPORT = 'import { Inngest } from "inngest";\n'
_STEPS = "checkpointing_function.ts"
_OPTION = "    checkpointing: true,\n"


SNIPPETS = (
    Snippet(name="connect_getting_started", place="program", says=("Worker: connected",)),
    *(
        Snippet(
            name=f"connect_app_version_{platform}",
            place="client",
            environ={variable: "v2025.02.12.01"},
            connections=({"version": "v2025.02.12.01"},),
        )
        for platform, variable in (
            ("any_platform", "MY_APP_VERSION"),
            ("github_actions", "GITHUB_SHA"),
            ("render", "RENDER_GIT_COMMIT"),
            ("fly_io", "FLY_MACHINE_VERSION"),
        )
    ),
    *(
        Snippet(
            name=f"connect_instance_id_{platform}",
            environ={variable: "instance-7"},
            connections=({"instanceId": "instance-7"},),
        )
        for platform, variable in (
            ("any_platform", "MY_CONTAINER_ID"),
            ("render", "RENDER_INSTANCE_ID"),
            ("fly_io", "FLY_MACHINE_ID"),
        )
    ),
    # The SDK asks the system, whose name a container's HOSTNAME is.
    Snippet(
        name="connect_instance_id_kubernetes_docker",
        connections=({"instanceId": socket.gethostname()},),
    ),
    Snippet(name="connect_max_concurrency", connections=({"maxWorkerConcurrency": 10},)),
    Snippet(name="connect_lifecycle_active", says=("The worker connection is: ACTIVE",)),
    Snippet(name="connect_lifecycle_signals"),
    Snippet(name="connect_lifecycle_close", place="after the connection"),
    Snippet(name="connect_lifecycle_closed", place="after the connection"),
    Snippet(name="connect_health_checks_node_js", place="program"),
    Snippet(name="connect_health_checks_bun", place="program"),
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
    Snippet(name="connect_self_hosted", sdks=("v3",)),  # version 4 has `gatewayUrl` in its place
    Snippet(name="checkpointing_client", place="client of steps"),
    Snippet(name="checkpointing_function", place="steps"),
)


def program(snippet: Snippet, sdk: str) -> str:
    """The block as a program for this version of the SDK."""
    block, first = printed(f"{snippet.name}.ts"), printed(_FIRST)
    head, found, _ = first.partition(_MAIN)
    assert found, f"{_FIRST} has no {_MAIN!r}"
    if snippet.place == "client":
        text = replaced(first, _CLIENT, block)
    elif snippet.place == "fragment":
        text = head + _FUNCTIONS + block
    elif snippet.place == "after the connection":
        text = head + _FUNCTIONS + printed("connect_lifecycle_active.ts") + block
    elif snippet.place == "steps":
        text = head.partition(_CLIENT)[0] + _CLIENT + "\n" + block + _connecting(first)
    elif snippet.place == "client of steps":
        imports = replaced(head.partition(_CLIENT)[0], _IMPORT, "")
        text = imports + block + "\n" + printed(_STEPS) + _connecting(first)
    else:
        text = block
    text = substituted(text, SUBSTITUTIONS, sdk)
    if snippet.place == "client of steps":
        before, option, after = text.rpartition(_OPTION)  # the function's own: the client has it
        assert option, f"{_STEPS} has no {_OPTION!r}"
        text = before + after
    return text


def _connecting(first: str) -> str:
    """What the first block does with its function, for the one with steps."""
    _, main, body = first.partition(_MAIN)
    return "\n" + main + replaced(body, "handleSignupFunction", "myFunction")


def functions_module(sdk: str) -> str:
    """The module `src/inngest` that the health checks import."""
    head, _, _ = printed(_FIRST).partition(_MAIN)
    return substituted(head, SUBSTITUTIONS, sdk) + _FUNCTIONS + _EXPORTS


def lay_out(
    directory: Path, programs: dict[str, str], sdk: str, modules: Path | None = None
) -> None:
    """Write programs, by their names, where they find this version of the SDK.

    Args:
        modules: Where another installation of it is.
    """
    (directory / "src").mkdir()
    (directory / "src/inngest.ts").write_text(functions_module(sdk))
    (directory / "package.json").write_text('{ "type": "module" }')
    (directory / "node_modules").symlink_to(modules or CACHE / f"compat/{sdk}/node_modules")
    for name, text in programs.items():
        (directory / f"{name}.ts").write_text(text)


def command(snippet: Snippet, directory: Path) -> list[str | Path]:
    """What runs the program."""
    runtime = BUN if snippet.name.endswith("_bun") else NODE
    return [runtime, directory / f"{snippet.name}.ts"]
