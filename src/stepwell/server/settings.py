"""Every setting of the server, each stated once: name, flag, environment, type, default, help.

`setting_sources.resolve` fills this table from flags, environment and file; the command line
builds its options from it, and `docs/reference/settings.md` is checked against it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_type_hints

import msgspec

from stepwell.server import setting_values as values

Mode: TypeAlias = Literal["dev", "start"]
BOTH: tuple[Mode, ...] = ("dev", "start")


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """How one setting is given.

    `read` turns the given text (or TOML value, as text) into the field's value and raises
    `ValueError` saying what is allowed. `aliases` and `env` are further flags and variables.
    `start_default` replaces the field's default under `stepwell start`.
    """

    help: str
    read: Callable[[str], Any]
    metavar: str
    flag: str = ""
    short: str | None = None
    aliases: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = BOTH
    start_default: Any = None
    secret: bool = False
    many: bool = False
    switch: bool = False
    # Accepted because the reference's command line has it; nothing here depends on it.
    no_meaning: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """All long flags, the main one first."""
        return (self.flag, *self.aliases)

    @property
    def environment(self) -> tuple[str, ...]:
        """All variables that set it, the first that is set wins."""
        suffixes = [flag.removeprefix("--").replace("-", "_").upper() for flag in self.flags]
        ours = [f"STEPWELL_{suffix}" for suffix in suffixes]
        theirs = [f"INNGEST_{suffix}" for suffix in suffixes]
        return (*ours, *theirs, *self.env)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the server was told, resolved and checked. Times are milliseconds.

    `sources` says where each value came from that is not a default, for messages and for the
    question whether a port was asked for by name. `ignored` lists what was given without effect.
    """

    mode: Mode = "dev"
    host: Annotated[
        str,
        Option(
            help="Address to listen on, for the API and for Connect.",
            read=values.text,
            metavar="ADDRESS",
            start_default="0.0.0.0",  # its keys are mandatory, so the network may see it
        ),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Option(
            help="Port of the API; 0 picks a free one. A taken port is an error.",
            read=values.port,
            metavar="PORT",
            short="-p",
        ),
    ] = 8288
    connect_gateway_port: Annotated[
        int,
        Option(
            help="Port of the Connect gateway; 0 picks a free one. "
            "Not given: this one, or the next free one.",
            read=values.port,
            metavar="PORT",
        ),
    ] = 8289
    data_dir: Annotated[
        Path,
        Option(
            help="Directory of the database and of generated secrets.",
            read=values.path,
            metavar="DIRECTORY",
            aliases=("--sqlite-dir",),
        ),
    ] = Path(".stepwell")
    in_memory: Annotated[
        bool,
        Option(
            help="Keep everything in memory and nothing on disk.",
            read=values.switch,
            metavar="",
            modes=("dev",),
            switch=True,
        ),
    ] = False
    signing_key: Annotated[
        str | None,
        Option(
            help="Key that workers and API clients present, in hex. Required.",
            read=values.signing_key,
            metavar="KEY",
            modes=("start",),
            secret=True,
        ),
    ] = None
    signing_key_fallback: Annotated[
        str | None,
        Option(
            help="A second signing key that is accepted too, while keys are rotated.",
            read=values.signing_key,
            metavar="KEY",
            modes=("start",),
            secret=True,
        ),
    ] = None
    event_keys: Annotated[
        tuple[str, ...],
        Option(
            help="Key that producers of events present. Repeatable; at least one is required.",
            read=values.event_key,
            metavar="KEY",
            flag="--event-key",
            modes=("start",),
            secret=True,
            many=True,
        ),
    ] = ()
    connect_public_url: Annotated[
        str | None,
        Option(
            help="URL that workers dial (`wss://...`). Needed behind TLS or a proxy.",
            read=values.websocket_url,
            metavar="URL",
        ),
    ] = None
    connect_lease_ms: Annotated[
        int,
        Option(
            help="Seconds that a worker holds a call without extending its lease.",
            read=values.seconds(least=0.1, most=86_400),
            metavar="SECONDS",
            flag="--connect-lease",
        ),
    ] = 120_000
    connect_heartbeat_ms: Annotated[
        int,
        Option(
            help="Seconds between a worker's heartbeats, as advertised to it.",
            read=values.seconds(least=1, most=3_600),
            metavar="SECONDS",
            flag="--connect-heartbeat",
        ),
    ] = 10_000
    connect_reconnect_grace_ms: Annotated[
        int,
        Option(
            help="Seconds that the work of a dropped connection is kept for its return.",
            read=values.seconds(least=0, most=86_400),
            metavar="SECONDS",
            flag="--connect-reconnect-grace",
        ),
    ] = 15_000
    connect_pin_wait_ms: Annotated[
        int,
        Option(
            help="Seconds that a pinned run waits for its version while no worker has it.",
            read=values.seconds(least=0, most=31_536_000),
            metavar="SECONDS",
            flag="--connect-pin-wait",
        ),
    ] = 600_000
    connect_drain_wait_ms: Annotated[
        int,
        Option(
            help="Seconds that a stopping server waits for its workers to leave.",
            read=values.seconds(least=0, most=3_600),
            metavar="SECONDS",
            flag="--connect-drain-wait",
        ),
    ] = 25_000
    connect_call_timeout_ms: Annotated[
        int,
        Option(
            help="Seconds that a worker may take to answer a call, or from one checkpoint of it to "
            "the next.",
            read=values.seconds(least=0.1, most=30 * 86_400),
            metavar="SECONDS",
            flag="--connect-call-timeout",
        ),
    ] = 7_200_000
    connect_apps_max: Annotated[
        int,
        Option(
            help="Most apps of one Connect connection; one with more is refused.",
            read=values.count(least=1, most=500),
            metavar="COUNT",
        ),
    ] = 10
    sdk_urls: Annotated[
        tuple[str, ...],
        Option(
            help="URL of an app that is served over HTTP; the server syncs it. Repeatable.",
            read=values.app_url,
            metavar="URL",
            flag="--sdk-url",
            short="-u",
            many=True,
        ),
    ] = ()
    no_discovery: Annotated[
        bool,
        Option(
            help="Do not look for served apps on the usual ports of this machine.",
            read=values.switch,
            metavar="",
            modes=("dev",),
            switch=True,
        ),
    ] = False
    no_poll: Annotated[
        bool,
        Option(
            help="Sync served apps again only while something is wrong with them.",
            read=values.switch,
            metavar="",
            modes=("dev",),
            switch=True,
        ),
    ] = False
    poll_interval_ms: Annotated[
        int,
        Option(
            help="Seconds between syncs of served apps; `start` syncs only those in trouble.",
            read=values.seconds(least=0.1, most=86_400),
            metavar="SECONDS",
            flag="--poll-interval",
        ),
    ] = 5_000
    allow_vulnerable_sdks: Annotated[
        bool,
        Option(
            help="Take apps whose SDK has a version with a known security defect.",
            read=values.switch,
            metavar="",
            modes=("start",),
            switch=True,
        ),
    ] = False
    http_calls_max: Annotated[
        int,
        Option(
            help="Most calls at a time to one host of served apps; more wait.",
            read=values.count(least=1, most=100_000),
            metavar="COUNT",
        ),
    ] = 100
    http_timeout_ms: Annotated[
        int,
        Option(
            help="Seconds that a served app may take to answer a call.",
            read=values.seconds(least=0.1, most=86_400),
            metavar="SECONDS",
            flag="--http-timeout",
        ),
    ] = 7_200_000
    outbound_ranges: Annotated[
        tuple[str, ...],
        Option(
            help="Private address range, such as 10.1.0.0/16, that `fetch` and `ai.infer` may "
            "reach too. Repeatable.",
            read=values.address_range,
            metavar="RANGE",
            flag="--outbound-range",
            many=True,
        ),
    ] = ()
    step_requests_max: Annotated[
        int,
        Option(
            help="Most requests at a time that the server makes for `fetch` and `ai.infer`; more "
            "wait. Functions share them.",
            read=values.count(least=1, most=100_000),
            metavar="COUNT",
        ),
    ] = 200
    retry_interval_ms: Annotated[
        int | None,
        Option(
            help="Seconds between all retries, in place of the schedule; 0 keeps the schedule.",
            read=values.seconds_or_none(most=86_400),
            metavar="SECONDS",
            flag="--retry-interval",
        ),
    ] = None
    event_bytes_max: Annotated[
        int,
        Option(
            help="Largest event, in bytes of its JSON.",
            read=values.count(least=1_024, most=64 * 2**20),
            metavar="BYTES",
        ),
    ] = 3 * 2**20
    event_request_bytes_max: Annotated[
        int,
        Option(
            help="Largest body of one request to the event API, in bytes.",
            read=values.count(least=1_024, most=2**30),
            metavar="BYTES",
        ),
    ] = 32 * 2**20
    connections_max: Annotated[
        int,
        Option(
            help="Most Connect connections at a time; one more is refused.",
            read=values.count(least=1, most=1_000_000),
            metavar="COUNT",
        ),
    ] = 10_000
    worker_history_max: Annotated[
        int,
        Option(
            help="Ended Connect connections that are remembered; the oldest are forgotten first.",
            read=values.count(least=0, most=1_000_000),
            metavar="COUNT",
        ),
    ] = 10_000
    worker_history_age_ms: Annotated[
        int,
        Option(
            help="Seconds for which an ended Connect connection is remembered.",
            read=values.seconds(least=1, most=10 * 366 * 86_400),
            metavar="SECONDS",
            flag="--worker-history-age",
        ),
    ] = 30 * 86_400_000
    log_level: Annotated[
        str,
        Option(
            help="Least level that is logged: debug, info, warning or error.",
            read=values.log_level,
            metavar="LEVEL",
            short="-l",
            env=("LOG_LEVEL",),
        ),
    ] = "info"
    log_json: Annotated[
        bool,
        Option(
            help="Log JSON on a terminal too; elsewhere the log is always JSON.",
            read=values.switch,
            metavar="",
            flag="--json",
            switch=True,
        ),
    ] = False
    sources: dict[str, str] = {}
    ignored: tuple[str, ...] = ()

    @property
    def server_kind(self) -> str:
        """What `X-Inngest-Server-Kind` says: `dev`, or `cloud` under `start`."""
        return "dev" if self.mode == "dev" else "cloud"

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """The keys that authenticate, the current one first; none in dev mode."""
        keys = (self.signing_key, self.signing_key_fallback)
        return tuple(key for key in keys if key is not None)

    def is_given(self, field: str) -> bool:
        """Whether somebody set this field, whatever the value."""
        return field in self.sources

    def __repr__(self) -> str:
        """Fields and values, with every secret masked: settings end up in logs."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        for name, option in options().items():
            if option.secret and shown[name]:
                shown[name] = "***"
        return "Settings(" + ", ".join(f"{name}={value!r}" for name, value in shown.items()) + ")"


def _upstream(flag: str, metavar: str, modes: tuple[Mode, ...] = BOTH, **more: Any) -> Option:
    return Option(
        help="Accepted for compatibility; changes nothing.",
        read=values.anything,
        metavar=metavar,
        flag=flag,
        modes=modes,
        no_meaning=True,
        switch=not metavar,
        **more,
    )


WITHOUT_MEANING: tuple[Option, ...] = (
    _upstream("--persist", "", ("dev",)),
    _upstream("--queue-workers", "COUNT"),
    _upstream("--tick", "MILLISECONDS"),
    _upstream("--no-ui", ""),
    _upstream("--verbose", ""),
    _upstream("--connect-gateway-host", "ADDRESS"),
    _upstream("--connect-gateway-grpc-port", "PORT"),
    _upstream("--connect-gateway-grpc-ip", "ADDRESS"),
    _upstream("--connect-executor-grpc-port", "PORT"),
    _upstream("--connect-executor-grpc-ip", "ADDRESS"),
    _upstream("--debug-api-port", "PORT"),
    _upstream("--redis-uri", "URI"),
    _upstream("--postgres-uri", "URI"),
    _upstream("--postgres-max-idle-conns", "COUNT"),
    _upstream("--postgres-max-open-conns", "COUNT"),
    _upstream("--postgres-conn-max-idle-time", "MINUTES"),
    _upstream("--postgres-conn-max-lifetime", "MINUTES"),
)
"""Flags of the reference that mean nothing here: each is a debug line, never an error."""


def options() -> dict[str, Option]:
    """The options by field name, in the order of the fields; each with its flag filled in."""
    if not _OPTIONS:
        for field, hint in get_type_hints(Settings, include_extras=True).items():
            for extra in get_args(hint)[1:]:
                if isinstance(extra, Option):
                    flag = extra.flag or "--" + field.replace("_", "-")
                    _OPTIONS[field] = msgspec.structs.replace(extra, flag=flag)
    return _OPTIONS


_OPTIONS: dict[str, Option] = {}


def parameter(option: Option) -> str:
    """The name under which the command line passes this option to `resolve`."""
    return option.flag.removeprefix("--").replace("-", "_")
