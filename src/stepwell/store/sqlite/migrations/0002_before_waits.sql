-- The tables of version 2: runs that wait for events and signals, errands, schedules.
--
-- Deploy: before. Safe to run twice: everything is made only if it is missing.

-- Which runs an event or a signal may concern: those that wait for it, and those that it cancels.
-- kind: 1 an event, 2 a signal. path and value: where the event must have which value; both empty
-- if the condition says nothing of the kind. In the key's order an event finds exactly the runs
-- that watch for its value, however many others there are.
CREATE TABLE IF NOT EXISTS watch (
    kind INTEGER NOT NULL,
    subject TEXT NOT NULL,
    path TEXT NOT NULL,
    value BLOB NOT NULL,
    watch_id BLOB NOT NULL,
    run_id BLOB NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, subject, path, value, watch_id)
) STRICT, WITHOUT ROWID;

-- What a later turn has to do. Almost always empty.
CREATE TABLE IF NOT EXISTS errand (
    errand_id BLOB NOT NULL PRIMARY KEY,
    body BLOB NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- Schedules of functions, and the instant of each that fired last.
CREATE TABLE IF NOT EXISTS schedule (
    function_no INTEGER NOT NULL,
    cron TEXT NOT NULL,
    last_ms INTEGER NOT NULL,
    partition INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (function_no, cron)
) STRICT, WITHOUT ROWID;
