"""The checklist of numbered behaviours is whole, and says what the scenarios say."""

from __future__ import annotations

import re

from tests.compat.checklist import NUMBERS, README, UNSHOWN, scenarios, with_table
from tests.compat.languages import LANGUAGES, ROOT
from tests.compat.pending import ALL


def test_each_number_has_a_scenario_or_a_reason() -> None:
    found = scenarios()

    assert set(found) | set(UNSHOWN) == set(NUMBERS)
    assert not set(found) & set(UNSHOWN)


def test_reasons_are_of_sdks_and_features_that_there_are() -> None:
    names = {language.name for language in LANGUAGES}
    sides = {f"{each.name}-{transport}" for each in LANGUAGES for transport in each.transports}
    needs = {need for _, shows in scenarios().values() for need in shows.needs}

    for _, shows in scenarios().values():
        assert set(shows.cannot) <= names | sides
    assert set(ALL) == needs, "a feature that nothing needs, or one that is there"


def test_the_readme_has_the_table() -> None:
    page = README.read_text(encoding="utf-8")

    assert page == with_table(page), "python -m tests.compat.checklist --write"


def test_each_behaviour_of_connect_names_tests_that_there_are() -> None:
    rows = re.findall(r"^\| w(\d\d) \| [^|]+ \| (.+) \|$", README.read_text("utf-8"), re.MULTILINE)
    named = [name for _, tests in rows for name in re.findall(r"`([^`]+)`", tests)]

    assert [int(number) for number, _ in rows] == list(range(1, 55))
    for name in named:
        path, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / "tests" / path).read_text(encoding="utf-8"), name
