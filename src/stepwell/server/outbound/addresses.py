"""Which addresses the server's own requests may reach.

Two kinds of requests leave the server. Calls to apps go where an operator or an app says, and apps
often live on private addresses. Requests that a function asks for (`fetch`, `ai.infer`) go where
its input says, which may come from anyone: they reach public addresses only, unless a setting
names more. Neither ever reaches link-local addresses or the metadata services of clouds, which give
credentials to whoever can reach them.

An IPv6 address that holds an IPv4 address is judged by both.
Source: docs/reference/outbound.md.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of request may reach beside public addresses.

    Attributes:
        name: For messages.
        private: Addresses of private networks.
        loopback: This machine.
        ranges: Private or loopback addresses that are allowed all the same.
    """

    name: str
    private: bool
    loopback: bool
    ranges: tuple[Network, ...] = ()


APPS = Profile(name="app", private=True, loopback=True)
"""For calls and syncs: an app lives where its operator put it."""


def for_functions(*, is_dev: bool, ranges: Iterable[Network] = ()) -> Profile:
    """For requests that functions ask for. A development server's may reach its own machine."""
    return Profile(name="function", private=False, loopback=is_dev, ranges=tuple(ranges))


def refusal(address: str, profile: Profile) -> str | None:
    """Why this address may not be reached, None if it may.

    Args:
        address: In numbers, perhaps with a zone as in `fe80::1%eth0`.
    """
    try:
        given = ip_address(address.partition("%")[0])
    except ValueError:
        return "it is not an address"
    for each in _held(given):
        if (reason := _refusal(each, profile)) is not None:
            return reason
    return None


def _refusal(address: Address, profile: Profile) -> str | None:
    for networks, what in _NEVER:
        if _is_in(address, networks):
            return f"{what} are never reached"
    if _is_in(address, profile.ranges):
        return None
    if _is_in(address, _LOOPBACK):
        return None if profile.loopback else "it is this machine"
    if _is_private(address):
        return None if profile.private else "it is not a public address"
    return None


def _held(address: Address) -> list[Address]:
    """The address, or the IPv4 addresses that packets to it may end up at, or both."""
    if isinstance(address, IPv4Address):
        return [address]
    mapped = address.ipv4_mapped
    if mapped is not None:
        return [mapped]
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _COMPATIBLE and int(address) > 1:
        return [low]
    if _is_in(address, _LOW_BITS):
        return [address, low]
    if address.sixtofour is not None:
        return [address, address.sixtofour]
    if address.teredo is not None:
        return [address, *address.teredo]
    return [address]


def _is_private(address: Address) -> bool:
    if isinstance(address, IPv6Address) and not _is_in(address, _UNICAST):
        return True
    return _is_in(address, _PRIVATE)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


_NEVER: tuple[tuple[tuple[Network, ...], str], ...] = (
    (_networks("169.254.0.0/16", "fe80::/10"), "link-local addresses"),
    (
        _networks(
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure
            "192.0.0.192/32",  # Oracle
            "fd00:ec2::/32",  # AWS
            "fd20:ce::254/128",  # Google
        ),
        "metadata services",
    ),
    (_networks("224.0.0.0/4", "ff00::/8"), "multicast addresses"),
    (_networks("0.0.0.0/8", "240.0.0.0/4", "::/128"), "addresses of no host"),
)
_LOOPBACK = _networks("127.0.0.0/8", "::1/128")
_PRIVATE = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
)
_UNICAST = _networks("2000::/3", "64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")
_LOW_BITS = _networks("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")
