-- The tables of version 3: keys of the requests that the server makes, the history of workers,
-- the ways to apps, and routes.
--
-- Deploy: before. Safe to run twice: everything is made only if it is missing.

-- What a request of the server must not show: run_id and seq are those of the history row that
-- tells the rest of it. Here only until the request is over.
CREATE TABLE IF NOT EXISTS request_secrets (
    run_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    secrets BLOB NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

-- Connections of workers, those that ended too. connection_id: a ULID, so the key is the order in
-- which they came. apps: a JSON array of names. body: what is known of it, as JSON; the server's own.
CREATE TABLE IF NOT EXISTS worker (
    connection_id BLOB NOT NULL PRIMARY KEY,
    instance_id TEXT NOT NULL,
    ended_at_ms INTEGER,
    apps BLOB NOT NULL,
    body BLOB NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- The order in which they are forgotten.
CREATE INDEX IF NOT EXISTS worker_ended ON worker (ended_at_ms, connection_id)
WHERE ended_at_ms IS NOT NULL;

-- Those that are open: after a crash, those that were.
CREATE INDEX IF NOT EXISTS worker_open ON worker (connection_id) WHERE ended_at_ms IS NULL;

CREATE INDEX IF NOT EXISTS worker_by_instance ON worker (instance_id, connection_id);

-- A connection carries several apps and is found by each.
CREATE TABLE IF NOT EXISTS worker_app (
    app_name TEXT NOT NULL,
    connection_id BLOB NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app_name, connection_id)
) STRICT, WITHOUT ROWID;

-- The ways to each app: its latest registration by each method. functions: a JSON object, by slug
-- the URL of its calls over HTTP. An app that was registered before there was this table has no row
-- until it registers again, and is known by its row in app.
CREATE TABLE IF NOT EXISTS transport (
    app_name TEXT NOT NULL,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    sdk TEXT NOT NULL,
    framework TEXT NOT NULL,
    app_version TEXT NOT NULL,
    checksum TEXT NOT NULL,
    synced_at_ms INTEGER NOT NULL,
    functions BLOB NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app_name, method)
) STRICT, WITHOUT ROWID;

-- What operators chose for a function; an empty slug is for all functions of the app.
CREATE TABLE IF NOT EXISTS route (
    app_name TEXT NOT NULL,
    slug TEXT NOT NULL,
    connect_percent INTEGER,
    pin INTEGER NOT NULL DEFAULT 0,
    partition INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app_name, slug)
) STRICT, WITHOUT ROWID;
