"""Rows in one SQLite file: the embedded store, in development and in production.

`store` is the whole, `reader` the read side; `directory` holds the data directory, `connections`
sets a connection up, `schema` brings the file's schema to this version, `statements` finds SQL
by name, `writes` and `loads` turn rows into SQL and back with `columns`, and `failures` names what
went wrong. The layout and why it is so: `migrations/0001_before_rows.sql`.
"""

from stepwell.store.sqlite.reader import SqliteReader
from stepwell.store.sqlite.store import SqliteStore

__all__ = ["SqliteReader", "SqliteStore"]
