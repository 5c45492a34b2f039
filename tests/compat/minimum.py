"""The oldest versions that the pages name: `python -m tests.compat.minimum`.

Each has an environment of its own in `.cache/minimum`, made once from its registry, and runs the
page's block (or for checkpointing a small program) against one development server. The exit status
is 1 if one of them failed; a version that its registry does not hand out is named and passed over.
Arguments choose among the names that are printed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.compat.api import Api
from tests.compat.languages import CACHE, NODE
from tests.docs import seed_go, seed_python, seed_typescript
from tests.docs.seed_blocks import EVENT, Snippet, replaced
from tests.docs.seed_workers import SeedWorker, check, connected
from tests.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

HOME = CACHE / "minimum"
INSTALL_S = 600
STARTED = "connect_getting_started"
CONCURRENCY = "connect_worker_concurrency"

CHECKPOINTING = Snippet(name="checkpointing", place="own")
"""The first block with checkpoints switched on, and with two steps."""

PYTHON_CONSTRAINTS = (
    "protobuf>=5.29.4,<6.0.0",
    "psutil>=6.0.0,<7.0.0",
    "websockets>=15.0.0,<16.0.0",
)
"""What the page recommends beside the SDK."""


class NotHandedOutError(Exception):
    """The registry does not have the version."""


class Minimum(NamedTuple):
    """A version, and the block that it is the oldest for."""

    language: str
    version: str
    block: str

    @property
    def name(self) -> str:
        return f"{self.language}-{self.version}"

    @property
    def home(self) -> Path:
        return HOME / self.name


MINIMUMS = (
    Minimum("python", "0.5.0", STARTED),
    Minimum("python", "0.5.12", CONCURRENCY),
    Minimum("typescript", "3.34.1", STARTED),
    Minimum("typescript", "3.45.1", CONCURRENCY),
    Minimum("typescript", "3.46.0", CHECKPOINTING.name),
    Minimum("go", "0.11.2", STARTED),
    Minimum("go", "0.14.3", CONCURRENCY),
    Minimum("go", "0.15.0", CHECKPOINTING.name),
)


def snippet_of(minimum: Minimum, snippets: tuple[Snippet, ...]) -> Snippet:
    """Its block, among those of its language."""
    return next(each for each in (*snippets, CHECKPOINTING) if each.name == minimum.block)


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command of an installation; what it says is shown only if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} {command[1]}: {done.stdout}{done.stderr}".strip())


def python_worker(minimum: Minimum, scratch: Path, url: str) -> SeedWorker:
    python = minimum.home / "bin/python"
    if not python.exists():
        run(sys.executable, "-m", "venv", minimum.home, cwd=HOME)
    if not (minimum.home / ".made").exists():
        package = f"inngest[connect]=={minimum.version}"
        run(python, "-m", "pip", "install", "-q", package, *PYTHON_CONSTRAINTS, cwd=HOME)
        (minimum.home / ".made").touch()
    file = scratch / "worker.py"
    snippet = snippet_of(minimum, seed_python.SNIPPETS)
    file.write_text(seed_python.program(snippet, "official"))
    return SeedWorker([python, file], scratch, {"INNGEST_DEV": url})


def typescript_worker(minimum: Minimum, scratch: Path, url: str) -> SeedWorker:
    if not (minimum.home / ".made").exists():
        minimum.home.mkdir(exist_ok=True)
        package = f"inngest@{minimum.version}"
        run("npm", "install", "--silent", "--no-audit", "--no-fund",
            "--prefix", minimum.home, package, cwd=minimum.home)  # fmt: skip
        (minimum.home / ".made").touch()
    snippet = snippet_of(minimum, seed_typescript.SNIPPETS)
    if snippet is CHECKPOINTING:
        started = next(each for each in seed_typescript.SNIPPETS if each.name == STARTED)
        source = replaced(
            seed_typescript.program(started, "v3"),
            '    console.log("Function called", event);\n',
            '    console.log("Function called", event);\n'
            '    const a = await step.run("a", () => 1);\n'
            '    return a + (await step.run("b", () => 2));\n',
        )
        # The page says `checkpointing`, which this version does not know yet.
        option = "  experimentalCheckpointing: true,\n"
        source = replaced(source, '  id: "my-app",\n', '  id: "my-app",\n' + option)
    else:
        source = seed_typescript.program(snippet, "v3")
    modules = minimum.home / "node_modules"
    seed_typescript.lay_out(scratch, {"worker": source}, "v3", modules)
    return SeedWorker([NODE, scratch / "worker.ts"], scratch, {"INNGEST_DEV": url})


def go_worker(minimum: Minimum, scratch: Path, url: str) -> SeedWorker:
    minimum.home.mkdir(exist_ok=True)
    # The logger was one of the standard library when the page was written.
    substitutions = () if minimum.version == "0.11.2" else seed_go.SUBSTITUTIONS
    snippet = snippet_of(minimum, seed_go.SNIPPETS)
    if snippet is CHECKPOINTING:
        started = next(each for each in seed_go.SNIPPETS if each.name == STARTED)
        source = _checkpointing_go(seed_go.program(started, substitutions))
    else:
        source = seed_go.program(snippet, substitutions)
    seed_go.lay_out(minimum.home, {"worker": source})
    module = "module stepwell.test/minimum\n\ngo 1.24\n"
    if not (minimum.home / ".made").exists():
        (minimum.home / "go.mod").write_text(module)
        try:
            run("go", "get", f"github.com/inngest/inngestgo@v{minimum.version}", cwd=minimum.home)
        except RuntimeError as error:
            if any(word in str(error) for word in ("403", "404", "410", "unknown revision")):
                raise NotHandedOutError(str(error).splitlines()[-1].strip()) from None
            raise
        run("go", "mod", "tidy", cwd=minimum.home)
        (minimum.home / ".made").touch()
    seed_go.build(minimum.home)
    return SeedWorker([minimum.home / "bin/worker"], scratch, {"INNGEST_DEV": url})


def _checkpointing_go(source: str) -> str:
    source = replaced(
        source,
        '\t"github.com/inngest/inngestgo/connect"\n',
        '\t"github.com/inngest/inngestgo/connect"\n'
        '\t"github.com/inngest/inngestgo/pkg/checkpoint"\n'
        '\t"github.com/inngest/inngestgo/step"\n',
    )
    options = 'inngestgo.FunctionOpts{ID: "handle-signup", Name: "Handle signup"'
    source = replaced(source, options, options + ", Checkpoint: checkpoint.ConfigSafe")
    give = "func(context.Context) (int, error) { return %d, nil }"
    return replaced(
        source,
        '\t\t\treturn map[string]any{"success": true}, nil\n',
        f'\t\t\ta, err := step.Run(ctx, "a", {give % 1})\n'
        "\t\t\tif err != nil {\n\t\t\t\treturn nil, err\n\t\t\t}\n"
        f'\t\t\tb, err := step.Run(ctx, "b", {give % 2})\n'
        "\t\t\treturn a + b, err\n",
    )


WORKERS: dict[str, Callable[[Minimum, Path, str], SeedWorker]] = {
    "python": python_worker,
    "typescript": typescript_worker,
    "go": go_worker,
}
SNIPPETS = {
    "python": seed_python.SNIPPETS,
    "typescript": seed_typescript.SNIPPETS,
    "go": seed_go.SNIPPETS,
}


def check_checkpointing(api: Api, worker: SeedWorker) -> None:
    """Two steps and one call: both were carried out in it, and both are on record."""
    connected(api, worker)
    event_id = api.send(EVENT, {"user_id": "123"})

    assert api.completed(event_id) == 3
    assert api.step_names(api.run_id(event_id)) == ["a", "b"]
    assert worker.log.count("Function called") == 1, worker.log_end


def try_out(minimum: Minimum, server: ServerProcess, scratch: Path) -> None:
    """Make its environment if it is not there, and run its block."""
    api = Api(lambda: server.api_url)
    scratch.mkdir()
    with WORKERS[minimum.language](minimum, scratch, server.api_url) as worker:
        if minimum.block == CHECKPOINTING.name:
            check_checkpointing(api, worker)
        else:
            check(api, worker, snippet_of(minimum, SNIPPETS[minimum.language]))


def main() -> int:
    wanted = [each for each in MINIMUMS if each.name in sys.argv[1:] or not sys.argv[1:]]
    HOME.mkdir(parents=True, exist_ok=True)
    ran, failed = 0, 0
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        with ServerProcess(data_dir=scratch / "data") as server:
            for minimum in wanted:
                since = time.monotonic()
                try:
                    try_out(minimum, server, scratch / minimum.name)
                except NotHandedOutError as error:
                    said = f"NOT RUN: {error}"
                except (AssertionError, RuntimeError) as error:
                    failed += 1
                    said = f"FAILED: {error}"
                else:
                    ran += 1
                    said = f"ran in {time.monotonic() - since:.1f} s"
                print(f"{minimum.name} {minimum.block}: {said}", flush=True)
    print(f"{ran} of {len(wanted)} versions ran, {failed} failed")
    return int(failed > 0 or not wanted)


if __name__ == "__main__":
    sys.exit(main())
