"""Each scenario for every SDK: over its first transport, with COMPAT_TRANSPORTS=all over all.

One server and one app are at work for an SDK and transport; its scenarios run in one process.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.compat.languages import LANGUAGES
from tests.compat.pending import PENDING
from tests.compat.remote import Remote
from tests.compat.running_app import Options, RunningApp

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from tests.compat.languages import Language
    from tests.compat.scenario import Shows

FIXTURES = ("app", "own_app", "start_app")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise `app`, `own_app` or `start_app` by SDK and transport."""
    wanted = next((name for name in FIXTURES if name in metafunc.fixturenames), None)
    if wanted is None:
        return
    shows: Shows = metafunc.module.SHOWS
    full = os.environ.get("COMPAT_TRANSPORTS") == "all"
    sides = [
        pytest.param(
            (language, transport),
            id=f"{language.name}-{transport}",
            marks=_marks(shows, language, transport, full=full),
        )
        for language in LANGUAGES
        for transport in _transports(shows, language, full=full)
    ]
    metafunc.parametrize(
        wanted, sides, indirect=True, scope="session" if wanted == "app" else "function"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the app and the server wrote."""
    report = yield
    funcargs = getattr(item, "funcargs", {})
    app = funcargs.get("app") or funcargs.get("own_app")
    if report.failed and isinstance(app, RunningApp):
        report.sections.append(("the app and the server", app.logs))
    return report


def _transports(shows: Shows, language: Language, *, full: bool) -> tuple[str, ...]:
    fitting = tuple(
        transport
        for transport in language.transports
        if not shows.reason_against(language.name, transport)
    )
    return fitting if full else fitting[:1]


def _marks(
    shows: Shows, language: Language, transport: str, *, full: bool
) -> list[pytest.MarkDecorator]:
    marks = [
        pytest.mark.compat,
        pytest.mark.xdist_group(f"{language.name}-{transport}"),
        pytest.mark.timeout(320 if shows.lasts else 60),
    ]
    marks += [pytest.mark.skip(reason=PENDING[need]) for need in shows.needs if need in PENDING]
    if shows.lasts and not full:
        marks.append(pytest.mark.skip(reason="takes over 20 s: make soak SUITE=compat"))
    return marks


@pytest.fixture(scope="session")
def app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApp]:
    """The app of one SDK over one transport."""
    with _prepared(request.param, tmp_path_factory, Options()) as running:
        yield running


@pytest.fixture
def own_app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningApp]:
    """The same, with a server of the test's own, which it may kill."""
    with _prepared(request.param, tmp_path_factory, Options()) as running:
        yield running


@pytest.fixture
def start_app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Options], RunningApp]]:
    """Start apps in another way than usual, each with a server of its own."""
    with contextlib.ExitStack() as running:
        yield lambda options: running.enter_context(
            _prepared(request.param, tmp_path_factory, options)
        )


def _prepared(
    side: tuple[Language, str], tmp_path_factory: pytest.TempPathFactory, options: Options
) -> RunningApp:
    language, transport = side
    if missing := language.missing():
        # Where a tool is not installed its scenarios are left out; a CI must have it.
        if not os.environ.get("CI") and not all(shutil.which(tool) for tool in ("npm", "go")):
            pytest.skip(f"{language.name}: its environment was not made: {missing[0]}")
        raise AssertionError(f"{missing[0]} is missing; `make test` makes it")
    scratch = tmp_path_factory.mktemp(f"{language.name}-{transport}")
    return RunningApp(language, transport, scratch=scratch, options=options)


@pytest.fixture
def remote() -> Iterator[Remote]:
    """A server that the server under test asks for a step."""
    with Remote() as remote:
        yield remote
