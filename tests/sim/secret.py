"""What nobody shall read: the key of some requests of the simulation."""

from __future__ import annotations

import msgspec

KEY = "nobody shall read this"
SECRET = KEY.encode()
KEPT_BYTES = len(msgspec.json.encode({"auth_key": KEY}))
"""What is stored of it until the request is over."""
