"""An event's id is looked for where it can be, also by a store that did not put it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from stepwell.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.stories import Story


@pytest.mark.parametrize("names", [("a", "inngest/a"), ("inngest/a", "a"), ("a", "b")])
def test_an_event_of_an_earlier_process_is_left_as_it_is(
    tmp_path: Path, story: Story, names: tuple[str, str]
) -> None:
    first = story.event(name=names[0])
    later = story.event(name=names[0])
    store = SqliteStore(tmp_path)
    store.commit([first, later])
    store.close()
    store = SqliteStore(tmp_path)
    store.commit([replace(first, name=names[1]), replace(later, name=names[1])])
    found = store.reader().events(include_internal=True, limit=9)
    assert {(event.event_id, event.name) for event in found} == {
        (first.event_id, names[0]),
        (later.event_id, names[0]),
    }
    store.close()


def test_a_refused_commit_leaves_no_wrong_idea_of_the_newest_event(
    tmp_path: Path, story: Story
) -> None:
    _run_id, intake = story.intake(function_no=1)
    store = SqliteStore(tmp_path)
    store.commit(intake)
    event, twin = story.event(name="a"), story.event(name="inngest/a")
    with pytest.raises(AssertionError):
        store.commit([event, *intake])  # a run twice
    store.commit([replace(event, name="inngest/b"), event, twin])
    reader = store.reader()
    found = [reader.event(event_id) for event_id in (event.event_id, twin.event_id)]
    assert [one.name for one in found if one is not None] == ["inngest/b", "inngest/a"]
    store.close()
