"""Which version of an app is in force."""

from __future__ import annotations

import pytest

from stepwell.server.gateway.versions import ABSENT_VERSIONS_KEPT, RETRY_LEAST_MS, Versions
from stepwell.wire.functions import Registration

GRACE_MS = 15_000


def version(name: str, app_name: str = "shop") -> Registration:
    """A registration whose checksum is its version's name."""
    return Registration(
        app_name=app_name,
        app_version=name,
        url="",
        sdk="py:1",
        framework="",
        platform="",
        method="connect",
        functions=(),
        checksum=name,
    )


class Deploy:
    """Apps, their versions and time, as a test tells the story."""

    def __init__(self, in_force: str | None = None, grace_ms: int = GRACE_MS) -> None:
        self.in_force = {} if in_force is None else {"shop": in_force}
        self.now_ms = 1_000_000
        self.versions = Versions(in_force=self.in_force.get, grace_ms=grace_ms, now_ms=self.now_ms)
        self.now_ms += grace_ms  # the first grace is over, unless the test says otherwise

    def arrive(self, connection_id: str, registration: Registration) -> bool:
        """A worker comes, one millisecond after whatever was before; whether it was registered."""
        self.now_ms += 1
        wanted = self.versions.arrived(connection_id, registration, self.now_ms)
        if wanted:
            self.register(registration)
        return wanted

    def register(self, registration: Registration) -> None:
        self.in_force[registration.app_name] = registration.checksum
        self.versions.registered(registration, f"sync of {registration.checksum}")

    def leave(self, connection_id: str, registration: Registration, *, cut_off: bool) -> None:
        self.versions.departed(connection_id, registration, cut_off=cut_off, now_ms=self.now_ms)

    def due(self) -> list[str]:
        return [registration.checksum for registration in self.versions.take_due(self.now_ms)]


def test_a_second_worker_of_a_version_registers_nothing() -> None:
    deploy = Deploy()
    assert deploy.arrive("a", version("v1"))
    assert not deploy.arrive("b", version("v1"))


def test_a_worker_that_comes_back_registers_nothing() -> None:
    deploy = Deploy()
    deploy.arrive("a", version("v1"))
    deploy.leave("a", version("v1"), cut_off=False)
    assert not deploy.arrive("b", version("v1"))


def test_a_new_version_is_put_in_force_by_its_first_worker() -> None:
    deploy = Deploy()
    deploy.arrive("a", version("v1"))
    assert deploy.arrive("b", version("v2"))
    assert not deploy.arrive("c", version("v2"))


def test_an_old_version_that_reconnects_beside_a_newer_one_changes_nothing() -> None:
    deploy = Deploy()
    deploy.arrive("old", version("v1"))
    deploy.arrive("new", version("v2"))
    deploy.leave("old", version("v1"), cut_off=True)
    assert not deploy.arrive("old again", version("v1"))
    assert deploy.in_force["shop"] == "v2"


def test_an_old_version_alone_is_put_in_force_again() -> None:
    deploy = Deploy()
    deploy.arrive("old", version("v1"))
    deploy.arrive("new", version("v2"))
    deploy.leave("old", version("v1"), cut_off=False)
    deploy.leave("new", version("v2"), cut_off=False)
    assert deploy.arrive("old again", version("v1"))


def test_the_newer_version_is_still_newer_after_a_rollback() -> None:
    deploy = Deploy()
    deploy.arrive("old", version("v1"))
    deploy.arrive("new", version("v2"))
    deploy.leave("new", version("v2"), cut_off=False)
    deploy.register(version("v1"))
    assert deploy.arrive("new again", version("v2"))
    deploy.leave("old", version("v1"), cut_off=True)
    assert not deploy.arrive("old again", version("v1"))


def test_a_newer_version_that_was_cut_off_counts_as_here_for_the_grace() -> None:
    deploy = Deploy()
    deploy.arrive("old", version("v1"))
    deploy.arrive("new", version("v2"))
    deploy.leave("new", version("v2"), cut_off=True)
    assert not deploy.arrive("old 2", version("v1"))
    deploy.now_ms += GRACE_MS
    assert deploy.arrive("old 3", version("v1"))


def test_what_is_left_of_an_old_version_is_put_in_force_when_the_new_one_leaves() -> None:
    deploy = Deploy()
    deploy.arrive("old", version("v1"))
    deploy.arrive("new", version("v2"))
    assert deploy.versions.next_wakeup_ms(deploy.now_ms) is None
    deploy.leave("new", version("v2"), cut_off=False)
    assert deploy.versions.next_wakeup_ms(deploy.now_ms) == deploy.now_ms
    assert deploy.due() == ["v1"]


def test_a_new_version_that_is_cut_off_has_the_grace_to_come_back() -> None:
    deploy = Deploy()
    deploy.arrive("old", version("v1"))
    deploy.arrive("new", version("v2"))
    deploy.leave("new", version("v2"), cut_off=True)
    assert deploy.due() == []
    assert deploy.versions.next_wakeup_ms(deploy.now_ms) == deploy.now_ms + GRACE_MS
    deploy.arrive("new again", version("v2"))
    assert deploy.versions.next_wakeup_ms(deploy.now_ms) is None
    deploy.leave("new again", version("v2"), cut_off=True)
    deploy.now_ms += GRACE_MS
    assert deploy.due() == ["v1"]


def test_of_several_old_versions_the_newest_is_put_in_force() -> None:
    deploy = Deploy()
    for name in ("v1", "v2", "v3"):
        deploy.arrive(name, version(name))
    deploy.leave("v3", version("v3"), cut_off=False)
    assert deploy.due() == ["v2"]


@pytest.mark.parametrize("grace_ms", [0, GRACE_MS])
def test_a_version_that_could_not_be_stored_is_given_again_later(grace_ms: int) -> None:
    deploy = Deploy(grace_ms=grace_ms)
    deploy.arrive("old", version("v1"))
    deploy.arrive("new", version("v2"))
    deploy.leave("new", version("v2"), cut_off=False)
    assert deploy.due() == ["v1"]
    again_ms = deploy.versions.next_wakeup_ms(deploy.now_ms)
    assert again_ms == deploy.now_ms + max(grace_ms, RETRY_LEAST_MS)
    assert deploy.due() == []
    deploy.now_ms = again_ms
    assert deploy.due() == ["v1"]


def test_a_refused_version_is_forgotten() -> None:
    deploy = Deploy()
    deploy.arrive("a", version("v1"))
    assert deploy.versions.arrived("b", version("broken"), deploy.now_ms + 1)
    deploy.versions.refused("b", version("broken"))
    deploy.leave("a", version("v1"), cut_off=True)
    assert not deploy.arrive("a again", version("v1"))
    assert deploy.due() == []


def test_of_two_versions_that_come_together_only_the_newer_one_registers() -> None:
    deploy = Deploy()
    for name in ("v1", "v2", "v3"):
        deploy.arrive(name, version(name))
        deploy.leave(name, version(name), cut_off=False)
    assert deploy.versions.arrived("b", version("v2"), deploy.now_ms)
    # The registration of v2 is on its way: v3 is still in force.
    assert not deploy.versions.arrived("a", version("v1"), deploy.now_ms)


def test_apps_do_not_mix() -> None:
    deploy = Deploy()
    deploy.arrive("a", version("v2", "shop"))
    assert deploy.arrive("b", version("v1", "billing"))
    assert deploy.in_force == {"shop": "v2", "billing": "v1"}


def test_after_a_restart_the_version_in_force_takes_strangers_for_older() -> None:
    deploy = Deploy(in_force="v2")
    deploy.now_ms -= GRACE_MS
    assert deploy.arrive("new", version("v2"))  # the same content: it only learns the ids
    assert not deploy.arrive("old", version("v1"))
    deploy.leave("new", version("v2"), cut_off=False)
    assert deploy.due() == ["v1"]


def test_a_version_of_this_life_takes_no_stranger_for_older() -> None:
    deploy = Deploy()
    deploy.now_ms -= GRACE_MS
    assert deploy.arrive("a", version("v1"))
    assert deploy.arrive("b", version("v2"))


def test_after_a_restart_a_stranger_alone_is_put_in_force_at_once() -> None:
    deploy = Deploy(in_force="v2")
    deploy.now_ms -= GRACE_MS
    assert deploy.arrive("edited", version("v3"))


def test_a_version_in_force_that_no_worker_has_is_left_alone() -> None:
    deploy = Deploy(in_force="by HTTP")
    deploy.arrive("a", version("v1"))
    deploy.in_force["shop"] = "by HTTP"
    assert deploy.versions.next_wakeup_ms(deploy.now_ms) is None
    assert deploy.due() == []


def test_only_so_many_absent_versions_are_remembered() -> None:
    deploy = Deploy()
    for number in range(3 * ABSENT_VERSIONS_KEPT):
        name = f"v{number}"
        deploy.arrive(name, version(name))
        deploy.leave(name, version(name), cut_off=False)
    assert deploy.versions.sync_id(version("v0")) is None
    assert deploy.versions.sync_id(version(f"v{2 * ABSENT_VERSIONS_KEPT}")) is not None


def test_a_worker_of_several_apps_is_as_new_as_its_first_worker() -> None:
    deploy = Deploy()
    deploy.arrive("a", version("v1"))
    first_ms = deploy.now_ms
    deploy.arrive("b", version("v1"))
    assert deploy.versions.since_ms(version("v1")) == first_ms
