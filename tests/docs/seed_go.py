"""The Go blocks as programs, built into `.cache/compat/seed-go`: `python -m tests.docs.seed_go`.

A block that is no whole program stands in the first one where the page means it: in place of its
call of `Connect`, and of its context where the block makes one. The function of the page about
checkpointing takes the place of that of the first block, and gets a trigger and two steps.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.compat.languages import CACHE
from tests.docs.seed_blocks import Snippet, Substitution, printed, replaced, substituted

HOME = CACHE / "compat/seed-go"
MODULE = Path(__file__).with_name("go")

SUBSTITUTIONS = (
    # The logger of the package's newer versions is a type of its own.
    Substitution("logger.StdlibLogger(ctx),", "logger.StdlibLogger(ctx).SLog(),"),
    # What the page leaves to its reader.
    Substitution(
        "  // ... triggers and handler\n",
        """	inngestgo.EventTrigger("app/my.event", nil),
	func(ctx context.Context, input inngestgo.Input[map[string]any]) (any, error) {
		fmt.Println("Function called")
		one, err := step.Run(ctx, "one", func(context.Context) (int, error) { return 1, nil })
		if err != nil {
			return nil, err
		}
		two, err := step.Run(ctx, "two", func(context.Context) (int, error) { return 2, nil })
		return one + two, err
	},
""",
    ),
)
IMPORTS = """package main

import (
	"context"
	"fmt"
	"os"
%s
	"github.com/inngest/inngest/pkg/logger"
	"github.com/inngest/inngestgo"
	"github.com/inngest/inngestgo/connect"
)

"""
SIGNAL_IMPORTS = '\t"os/signal"\n\t"syscall"\n'

SNIPPETS = (
    Snippet(
        name="connect_getting_started",
        place="program",
        connections=({"instanceId": "example-worker"},),
        says=("Worker: connecting",),
    ),
    Snippet(name="connect_lifecycle_signals", connections=({"instanceId": "example-worker"},)),
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
    Snippet(name="checkpointing_function", place="steps"),
)

_FIRST = "connect_getting_started.go"
_CONTEXT = "\tctx := context.Background()\n"
_CONNECT = "\tconn, err := inngestgo.Connect("
_CONNECT_END = "\t})\n"
_LATER = "// Later in your function"
_LAST = "\t}(conn)\n"
_CREATE = "\t_, err = inngestgo.CreateFunction(\n"
_CREATE_END = "\n\t)\n"
_INNGESTGO = '\t"github.com/inngest/inngestgo"\n'
_STEP = '\t"github.com/inngest/inngestgo/step"\n'


def program(snippet: Snippet, substitutions: tuple[Substitution, ...] = SUBSTITUTIONS) -> str:
    """The block as a program."""
    block, text = printed(f"{snippet.name}.go"), printed(_FIRST)
    if snippet.place == "fragment":
        context, later, connecting = block.rpartition(_LATER)
        if later:
            text = replaced(text, _CONTEXT, context)
        text = _connecting(text, later + connecting)
    imports = IMPORTS % (SIGNAL_IMPORTS if "signal." in text else "")
    if snippet.place == "steps":
        # The block imports by itself what its call needs, and has a scope of its own.
        imported, end, call = block.partition("\n)\n")
        imports = replaced(imports, _INNGESTGO, _STEP) + imported + end
        before, found, after = text.partition(_CREATE)
        assert found, f"{_FIRST} has no {_CREATE!r}"
        text = before + "\terr = create(client)\n" + after.partition(_CREATE_END)[2]
        text += f"\nfunc create(client inngestgo.Client) error {{\n{call}\n\treturn err\n}}\n"
    return imports + substituted(text, substitutions)


def _connecting(text: str, block: str) -> str:
    """The first block with another one in place of its call of `Connect`."""
    before, found, after = text.partition(_CONNECT)
    assert found, f"{_FIRST} has no {_CONNECT!r}"
    _, _, rest = after.partition(_CONNECT_END)
    names = [line.partition(",")[0] for line in block.splitlines() if ":= inngestgo.C" in line]
    # The end of the first block closes one connection; Go wants a use of each other name.
    used = "".join(f"\t_ = {name}\n" for name in names[1:])
    return before + block + used + replaced(rest, _LAST, _LAST.replace("conn", names[0]))


def binary(snippet: Snippet) -> Path:
    """The built program."""
    return HOME / "bin" / snippet.name


def lay_out(home: Path, programs: dict[str, str]) -> None:
    """Write programs as packages of one module, each under its name."""
    for name, text in programs.items():
        package = home / name
        package.mkdir(parents=True, exist_ok=True)
        (package / "main.go").write_text(text)


def build(home: Path) -> None:
    """Build all packages of a module into its `bin/`."""
    command = ["go", "build", "-trimpath", "-o", "bin/", "./..."]
    subprocess.run(command, cwd=home, check=True)


def is_current() -> bool:
    """What was built is of the blocks as they stand."""
    return all(
        binary(each).exists() and (HOME / each.name / "main.go").read_text() == program(each)
        for each in SNIPPETS
    )


def main() -> int:
    HOME.mkdir(parents=True, exist_ok=True)
    for file in ("go.mod", "go.sum"):
        (HOME / file).write_text((MODULE / file).read_text())
    lay_out(HOME, {each.name: program(each) for each in SNIPPETS})
    build(HOME)
    return 0


if __name__ == "__main__":
    sys.exit(main())
