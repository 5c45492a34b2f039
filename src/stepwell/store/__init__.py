"""Where rows are kept: `interface` says what a store does, `memory` and `sqlite` do it.

`committer` turns lists of writes into durable commits. The implementations are imported where a
server is put together, so that one in memory loads no database.
"""
