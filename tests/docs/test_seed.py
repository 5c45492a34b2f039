"""The code blocks of the pages that we implement run as they are printed.

Each block is a file of its own in `seed/`, named after its page and section, to the letter. What is
put around a fragment, and the few texts that are replaced, are in `seed_python`, `seed_typescript`
and `seed_go`; nothing else is changed.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from tests.docs import seed_go, seed_python, seed_typescript
from tests.docs.seed_blocks import Snippet, assert_complete, printed
from tests.docs.seed_index import LEFT_OUT, SEED, digest_of, entries, read_page
from tests.docs.seed_sides import SIDES, Side, marks_of, params, snippet
from tests.docs.seed_workers import check

if TYPE_CHECKING:
    from tests.compat.api import Api
    from tests.docs.seed_index import Printed
    from tests.server_process import ServerProcess

OWN_TESTS = {
    "connect_lifecycle_close": "test_seed_lifecycle: its program ends by itself",
    "connect_lifecycle_closed": "test_seed_lifecycle: the same as another one until a signal comes",
    "connect_health_checks_node_js": "test_seed_health_checks: it listens at a port",
    "connect_health_checks_bun": "test_seed_health_checks: it listens at a port",
    "connect_self_hosted": "test_seed_production: it needs a server with an address of its own",
    "checkpointing_client": "test_seed_checkpointing: its function has steps",
    "checkpointing_function": "test_seed_checkpointing: its function has steps",
}
"""Blocks that connect in another way than these."""

VARIABLE = "connect_worker_concurrency.sh"

CASES = [
    pytest.param(side, each, id=f"{side.name}-{each.name}", marks=marks_of(side))
    for side in SIDES
    for each in side.snippets
    if each.name not in OWN_TESTS
]


@pytest.mark.parametrize(("side", "snippet"), CASES)
def test_the_function_of_the_block_runs(
    dev: ServerProcess, api: Api, side: Side, snippet: Snippet, tmp_path: Path
) -> None:
    with side.worker(snippet, tmp_path, {"INNGEST_DEV": dev.api_url}) as worker:
        check(api, worker, snippet)


@pytest.mark.parametrize("side", params(*SIDES))
def test_the_variable_sets_the_limit_and_an_option_goes_before_it(
    dev: ServerProcess, api: Api, side: Side, tmp_path: Path
) -> None:
    environ = dict(word.split("=", 1) for word in shlex.split(printed(VARIABLE)))
    assert environ == {"INNGEST_CONNECT_MAX_WORKER_CONCURRENCY": "100"}
    environ["INNGEST_DEV"] = dev.api_url

    for name, limit in (("getting_started", 100), ("worker_concurrency", 10)):
        directory = tmp_path / name
        directory.mkdir()
        block = snippet(side, name)
        wanted = ({"maxWorkerConcurrency": limit},)
        with side.worker(block, directory, environ) as worker:
            check(api, worker, msgspec.structs.replace(block, connections=wanted))


def test_every_block_of_the_pages_has_a_file_or_is_left_out_for_its_subject() -> None:
    files = {path.name for path in SEED.iterdir()} - {"index.tsv"}
    assert sorted(entry.file for entry in entries() if entry.file) == sorted(files)
    for entry in entries():
        assert bool(entry.file) != (entry.printed.page in LEFT_OUT), entry
        if entry.file:
            assert digest_of(printed(entry.file)) == entry.printed.digest, entry.file


def test_every_file_is_a_case_and_every_substitution_is_needed() -> None:
    assert_complete("py", seed_python.SNIPPETS, seed_python.SUBSTITUTIONS)
    assert_complete("go", seed_go.SNIPPETS, seed_go.SUBSTITUTIONS)
    assert_complete("ts", seed_typescript.SNIPPETS, seed_typescript.SUBSTITUTIONS)
    others = {path.name for path in SEED.iterdir() if path.suffix not in (".py", ".go", ".ts")}
    shown = {VARIABLE, "connect_readiness_probe.yaml", "checkpointing_install.sh"}
    assert others == {"index.tsv", *shown}


@pytest.mark.skipif("SEED_PAGES" not in os.environ, reason="SEED_PAGES names no directory of pages")
def test_the_index_has_every_block_of_the_pages() -> None:
    found: list[Printed] = []
    for page in sorted(Path(os.environ["SEED_PAGES"]).iterdir()):
        found += [block for block, _ in read_page(page.read_text(encoding="utf-8"))]
    assert found == [entry.printed for entry in entries()]
