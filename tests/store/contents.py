"""All that a store holds, read back through its published interface, as plain values.

Two stores that hold the same give equal contents; so does one store before and after a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection

    from stepwell.engine.rows import WatchKind
    from stepwell.store.interface import Store
    from stepwell.wire.ids import RunId

EVERYTHING = 1_000_000
SEQS = range(5)
"""Numbers of history rows that may have secrets."""

WatchKey: TypeAlias = "tuple[WatchKind, str, str, bytes]"
"""Kind, subject, path, value."""


def contents_of(
    store: Store,
    *,
    dedup_keys: Collection[tuple[int, str]] = (),
    watch_keys: Collection[WatchKey] = (),
    now_ms: int = 0,
) -> dict[str, Any]:
    """What the store holds. Dedup pairs and watches have no list: the keys say what to ask for."""
    reader = store.reader()
    try:
        runs = reader.runs(limit=EVERYTHING)
        ids = [run.run_id for run in runs]
        apps, functions = store.load_catalog()
        return {
            "apps": _plain(apps),
            "functions": _plain(functions),
            "events": _plain(reader.events(include_internal=True, limit=EVERYTHING)),
            "runs": _plain(runs),
            "images": _plain(store.load_runs(ids)),
            "due": _plain(store.scan_due(until_ms=2**60, after=None, limit=EVERYTHING)),
            "queues": {
                str(no): _plain(store.scan_queued(no, after=None, limit=EVERYTHING))
                for no in store.queued_functions()
            },
            "steps": {run_id.hex(): _plain(reader.steps(run_id)) for run_id in ids},
            "history": {run_id.hex(): _plain(reader.history(run_id)) for run_id in ids},
            "secrets": {
                run_id.hex(): [_plain(reader.request_secrets(run_id, seq)) for seq in SEQS]
                for run_id in ids
                if any(reader.request_secrets(run_id, seq) is not None for seq in SEQS)
            },
            "states": {run_id.hex(): _plain(reader.live_state(run_id)) for run_id in ids},
            "live": reader.count_live(),
            "stranded": store.count_stranded(),
            "dedups": _plain(sorted(store.known_dedups(dedup_keys, now_ms=now_ms).items())),
            "quarantine": _plain(reader.quarantined(limit=EVERYTHING)),
            "watched": _plain(store.load_watched()),
            "watches": [_plain(_watches(store, key)) for key in watch_keys],
            "errands": _plain(store.scan_errands(after=b"", limit=EVERYTHING)),
            "schedules": _plain(store.load_schedules()),
            "transports": _plain(store.load_transports()),
            "routes": _plain(store.load_routes()),
            "open_workers": _plain(reader.open_workers(limit=EVERYTHING)),
            "ended_workers": _plain(reader.ended_workers(limit=EVERYTHING)),
        }
    finally:
        reader.close()


def _watches(store: Store, key: WatchKey) -> list[tuple[bytes, RunId]]:
    return store.find_watches(*key, after=b"", before=b"\xff" * 17, limit=EVERYTHING)


def _plain(value: Any) -> Any:
    """Structs as dicts, bytes as hex: what JSON keeps, too."""
    return msgspec.to_builtins(_hex(value))


def _hex(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case list() | tuple():
            return [_hex(item) for item in value]
        case msgspec.Struct():
            return {name: _hex(getattr(value, name)) for name in value.__struct_fields__}
    return value
