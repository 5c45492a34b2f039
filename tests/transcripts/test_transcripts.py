"""Stories of runs, told turn by turn in `stories/`.

A story is a text file: a command, a line of four dashes, and what it brings about; blocks are
parted by an empty line, and lines that begin with `#` are the author's. After a change,
`pytest tests/transcripts --rewrite` writes what happens now; then read the diff.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.transcripts.conversation import Conversation

STORIES = Path(__file__).parent / "stories"
RULE = "----"


@pytest.mark.parametrize("name", sorted(path.stem for path in STORIES.glob("*.txt")))
def test_story(name: str, request: pytest.FixtureRequest) -> None:
    path = STORIES / f"{name}.txt"
    written = path.read_text()
    told = retold(written)
    if request.config.getoption("--rewrite", default=False):
        path.write_text(told)
        return
    assert told == written


def test_every_story_ends_with_all_runs_over() -> None:
    for path in STORIES.glob("*.txt"):
        rows = [line for line in path.read_text().splitlines() if line.startswith("+ live")]
        latest = {line.split()[2]: line for line in rows}
        open_ = [run for run, line in latest.items() if not line.endswith("no more")]
        assert not open_, f"{path.name} leaves {open_} alive"


def retold(text: str) -> str:
    """The story with what its commands bring about now."""
    conversation = Conversation()
    blocks: list[str] = []
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        comments = [line for line in lines if line.startswith("#")]
        rest = lines[len(comments) :]
        if rest:
            blocks.append("\n".join([*comments, rest[0], RULE, *conversation.say(rest[0])]))
        else:
            blocks.append("\n".join(comments))
    return "\n\n".join(blocks) + "\n"
