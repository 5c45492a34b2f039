"""Every request that the server itself makes goes through here: to apps, and for functions.

One policy: http and https only; the address is checked after the name was resolved, and the
connection goes to the address that was checked; each redirect is checked again; time and size are
bounded. Source: docs/reference/outbound.md.
"""

from stepwell.server.outbound.addresses import APPS, Network, Profile, for_functions
from stepwell.server.outbound.client import OutboundClient, OutboundResponse

__all__ = [
    "APPS",
    "Network",
    "OutboundClient",
    "OutboundResponse",
    "Profile",
    "for_functions",
]
