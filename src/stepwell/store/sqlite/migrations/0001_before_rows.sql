-- The tables of version 1.
--
-- Deploy: before. Safe to run twice: everything is made only if it is missing.
--
-- Layout. Ids are the 16 bytes of a ULID, so keys grow with time and new rows meet in few pages.
-- WITHOUT ROWID: a row is stored once, in its key's order. Times are milliseconds after the time
-- in the row's own id (run rows, steps, history) or event id, which is mostly one or two bytes.
-- `partition` is a plain column: ids are unique across partitions, so no key needs it, and 0 costs
-- a row one byte of header (measured: 17 of 1,256 bytes for a finished ten-step run).
-- A row that outgrows about 1,000 bytes continues on overflow pages of 4 KiB.

-- Names of events, since they repeat. Number 1 is fixed: see event_by_name.
CREATE TABLE IF NOT EXISTS event_name (
    no INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    partition INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT OR IGNORE INTO event_name (no, name) VALUES (1, 'inngest/function.finished');

-- internal: 1 if the name begins with inngest/, which lists leave out; first in the key, so that a
-- list need not step over them. runs: run ids joined, NULL if none.
CREATE TABLE IF NOT EXISTS event (
    internal INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    name_no INTEGER NOT NULL,
    ts_after_ms INTEGER NOT NULL,
    data BLOB NOT NULL,
    runs BLOB,
    source_run BLOB,
    external_id TEXT,
    user BLOB,
    v TEXT,
    meta BLOB,
    partition INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (internal, event_id)
) STRICT, WITHOUT ROWID;

-- Events of one name. Finished runs are left out: at least every third internal event is one, so
-- the key finds them fast, and every run saves 27 bytes and a page in its last commit.
CREATE INDEX IF NOT EXISTS event_by_name ON event (name_no, event_id) WHERE name_no <> 1;

CREATE TABLE IF NOT EXISTS run (
    run_id BLOB NOT NULL PRIMARY KEY,
    function_no INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    status INTEGER NOT NULL,
    started_after_ms INTEGER,
    ended_after_ms INTEGER,
    output BLOB,
    partition INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Runs of a function or of a status: lists merge one range per function and status, so a page costs
-- about what it returns. Statuses fall so that the newest finished runs lie beside the live ones.
CREATE INDEX IF NOT EXISTS run_by_status ON run (function_no, status DESC, run_id);

-- What a run that is not over needs to go on. Apart from run, so that rows of finished runs are
-- packed and this table stays as small as the work in hand.
CREATE TABLE IF NOT EXISTS live (
    run_id BLOB NOT NULL PRIMARY KEY,
    function_no INTEGER NOT NULL,
    queued_score INTEGER,
    wake_at_ms INTEGER,
    state BLOB NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- The queue of each function.
CREATE INDEX IF NOT EXISTS live_queued ON live (function_no, queued_score, run_id)
WHERE queued_score IS NOT NULL;

-- What is due, and (at 0) what is out at a worker.
CREATE INDEX IF NOT EXISTS live_due ON live (wake_at_ms, run_id) WHERE wake_at_ms IS NOT NULL;

-- Always empty, so that counting costs nothing.
CREATE INDEX IF NOT EXISTS live_stranded ON live (run_id)
WHERE queued_score IS NULL AND wake_at_ms IS NULL;

-- step_id: the 20 bytes of a SHA-1 where the id is one in hex, else the text.
CREATE TABLE IF NOT EXISTS step (
    run_id BLOB NOT NULL,
    step_id ANY NOT NULL,
    position INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    data BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    ended_after_ms INTEGER NOT NULL,
    took_ms INTEGER NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, step_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS history (
    run_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    at_after_ms INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    step_id ANY,
    name TEXT,
    attempt INTEGER NOT NULL,
    payload BLOB,
    partition INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS dedup (
    function_no INTEGER NOT NULL,
    key TEXT NOT NULL,
    run_id BLOB NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (function_no, key)
) STRICT, WITHOUT ROWID;

-- What has expired. Rows live for a day, so the space comes back.
CREATE INDEX IF NOT EXISTS dedup_by_expiry ON dedup (expires_at_ms);

CREATE TABLE IF NOT EXISTS app (
    name TEXT NOT NULL PRIMARY KEY,
    app_id TEXT NOT NULL,
    url TEXT NOT NULL,
    sdk TEXT NOT NULL,
    framework TEXT NOT NULL,
    app_version TEXT NOT NULL,
    checksum TEXT NOT NULL,
    method TEXT NOT NULL,
    synced_at_ms INTEGER NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS function (
    no INTEGER PRIMARY KEY,
    function_id TEXT NOT NULL,
    app_name TEXT NOT NULL,
    slug TEXT NOT NULL,
    version INTEGER NOT NULL,
    config BLOB NOT NULL,
    created_at_ms INTEGER NOT NULL,
    archived_at_ms INTEGER,
    partition INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Texts are bytes (UTF-8), since a traceback may hold what no valid text does.
CREATE TABLE IF NOT EXISTS quarantine (
    no INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    run_id BLOB,
    input_repr BLOB NOT NULL,
    traceback BLOB NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0
) STRICT;
