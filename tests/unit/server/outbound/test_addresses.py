from __future__ import annotations

from ipaddress import ip_network

import pytest

from stepwell.server.outbound.addresses import APPS, for_functions, refusal

DEV = for_functions(is_dev=True)
START = for_functions(is_dev=False)
RANGES = for_functions(is_dev=False, ranges=[ip_network("10.1.0.0/16"), ip_network("fd12::/16"),
                                              ip_network("169.254.0.0/16")])  # fmt: skip

NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "169.254.170.2",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "ff02::1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::ffff:0:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::169.254.169.254",
    "2002:a9fe:a9fe::",
    "2001:0:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:5601:5601",
    "2130706433",
    "0x7f.1",
    "127.1",
    "localhost",
    "[::1]",
    "1.2.3.4.5",
]

LOOPBACK = ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]

PRIVATE = [
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "2001:db8::1",
    "100::1",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "2002:0a00:0001::",
    "::10.0.0.1",
]

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "172.15.0.1",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "11.0.0.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450::1",
    "64:ff9b::8.8.8.8",
    "::ffff:8.8.8.8",
    "2002:0808:0808::",
]


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_reached(address: str) -> None:
    for profile in (APPS, DEV, START, RANGES):
        assert refusal(address, profile) is not None


@pytest.mark.parametrize("address", LOOPBACK)
def test_this_machine_is_for_apps_and_for_development(address: str) -> None:
    assert refusal(address, APPS) is None
    assert refusal(address, DEV) is None
    assert refusal(address, START) is not None
    assert refusal(address, RANGES) is not None


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_for_apps(address: str) -> None:
    assert refusal(address, APPS) is None
    assert refusal(address, DEV) is not None
    assert refusal(address, START) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_for_all(address: str) -> None:
    for profile in (APPS, DEV, START, RANGES):
        assert refusal(address, profile) is None


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("10.2.0.1", False),
        ("fd12::1", True),
        ("fd13::1", False),
        ("169.254.1.1", False),
    ],
)
def test_a_setting_opens_private_ranges_only(address: str, allowed: bool) -> None:
    assert (refusal(address, RANGES) is None) is allowed
