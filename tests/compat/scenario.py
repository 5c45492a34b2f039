"""What a scenario says of itself: the behaviour it shows, what it needs, who cannot show it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Shows(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered behaviour, as a scenario's module declares it in `SHOWS`.

    Attributes:
        number: `h15` is 15 of the HTTP protocol, `f36` is 36 of triggers and flow control,
            `c12` is 12 of checkpointing.
        behaviour: In one short sentence.
        needs: Features that may still be missing; see `tests.compat.pending`.
        cannot: Why an SDK cannot show it, by the SDK's name, or by SDK and transport: `go-connect`.
        over: The transports it is about, when it is not about all: `connect` or `serve`.
        lasts: It takes over 20 s and runs only with all transports.
    """

    number: str
    behaviour: str
    needs: tuple[str, ...] = ()
    cannot: Mapping[str, str] = msgspec.field(default_factory=dict)
    over: str = ""
    lasts: bool = False

    def reason_against(self, language: str, transport: str) -> str:
        """Why an SDK cannot show it over a transport; empty if it can."""
        if self.over and (transport == "connect") != (self.over == "connect"):
            return f"it is about {self.over}"
        return self.cannot.get(language) or self.cannot.get(f"{language}-{transport}", "")
