-- Statements of one commit. Each is prepared once and stays in the connection's cache.

-- name: begin
-- Take the write lock at once, so that nothing fails half-way for want of it.
BEGIN IMMEDIATE;

-- name: commit
-- Make the transaction durable.
COMMIT;

-- name: rollback
-- Forget the transaction.
ROLLBACK;

-- name: put_event
-- Insert an event unless its id is known, as an internal event or as another.
INSERT INTO event (
    internal, event_id, name_no, ts_after_ms, data, runs, source_run, external_id, user, v, meta
)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
WHERE NOT EXISTS (SELECT 1 FROM event WHERE internal = 1 - ?1 AND event_id = ?2)
ON CONFLICT DO NOTHING;

-- name: put_newer_event
-- Insert an event that is newer than all events of the other kind, unless its id is known.
INSERT INTO event (
    internal, event_id, name_no, ts_after_ms, data, runs, source_run, external_id, user, v, meta
)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT DO NOTHING;

-- name: newest_event_id
-- The newest event that is internal, or that is not.
SELECT event_id FROM event WHERE internal = ?1 ORDER BY event_id DESC LIMIT 1;

-- name: event_name_no
-- The number of an event name.
SELECT no FROM event_name WHERE name = ?1;

-- name: put_event_name
-- Give an event name the next number.
INSERT INTO event_name (name) VALUES (?1) RETURNING no;

-- name: put_run
-- Insert a run; one that is there is an error.
INSERT INTO run (run_id, function_no, event_id, status, started_after_ms)
VALUES (?1, ?2, ?3, ?4, ?5);

-- name: update_run
-- Replace a run's progress.
UPDATE run SET status = ?2, started_after_ms = ?3, ended_after_ms = ?4, output = ?5
WHERE run_id = ?1;

-- name: update_live_state
-- Replace the state of a live run whose place in the indexes stays the same, which spares them.
UPDATE live SET state = ?5
WHERE run_id = ?1 AND function_no = ?2 AND queued_score IS ?3 AND wake_at_ms IS ?4;

-- name: put_live
-- Insert or replace a live run.
INSERT INTO live (run_id, function_no, queued_score, wake_at_ms, state)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (run_id) DO UPDATE SET
    function_no = excluded.function_no,
    queued_score = excluded.queued_score,
    wake_at_ms = excluded.wake_at_ms,
    state = excluded.state;

-- name: delete_live
-- The run is over.
DELETE FROM live WHERE run_id = ?1;

-- name: put_step
-- Insert a step unless its run has one with this id.
INSERT INTO step (run_id, step_id, position, kind, name, data, attempt, ended_after_ms, took_ms)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT DO NOTHING;

-- name: put_history
-- Insert a history row; one that is there is an error.
INSERT INTO history (run_id, seq, at_after_ms, kind, step_id, name, attempt, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8);

-- name: put_request_secrets
-- Insert or replace what a request must not show.
INSERT INTO request_secrets (run_id, seq, secrets) VALUES (?1, ?2, ?3)
ON CONFLICT (run_id, seq) DO UPDATE SET secrets = excluded.secrets;

-- name: delete_request_secrets
-- The request is over.
DELETE FROM request_secrets WHERE run_id = ?1 AND seq = ?2;

-- name: put_dedup
-- Insert or replace a dedup pair.
INSERT INTO dedup (function_no, key, run_id, expires_at_ms) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (function_no, key) DO UPDATE SET
    run_id = excluded.run_id,
    expires_at_ms = excluded.expires_at_ms;

-- name: set_event_runs
-- Say which runs an event started, after it was stored.
UPDATE event SET runs = ?2 WHERE internal IN (0, 1) AND event_id = ?1;

-- name: put_watch
-- Let an event or a signal find a run.
INSERT INTO watch (kind, subject, path, value, watch_id, run_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6);

-- name: delete_watch
-- The run does not watch for that any more.
DELETE FROM watch
WHERE kind = ?1 AND subject = ?2 AND path = ?3 AND value = ?4 AND watch_id = ?5;

-- name: put_errand
-- Insert or replace what a later turn has to do.
INSERT INTO errand (errand_id, body) VALUES (?1, ?2)
ON CONFLICT (errand_id) DO UPDATE SET body = excluded.body;

-- name: delete_errand
-- It is done.
DELETE FROM errand WHERE errand_id = ?1;

-- name: put_schedule
-- Insert or replace a schedule.
INSERT INTO schedule (function_no, cron, last_ms) VALUES (?1, ?2, ?3)
ON CONFLICT (function_no, cron) DO UPDATE SET last_ms = excluded.last_ms;

-- name: delete_schedule
-- The function has this schedule no more.
DELETE FROM schedule WHERE function_no = ?1 AND cron = ?2;

-- name: put_transport
-- Insert or replace one way to an app.
INSERT INTO transport (
    app_name, method, url, sdk, framework, app_version, checksum, synced_at_ms, functions
)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (app_name, method) DO UPDATE SET
    url = excluded.url,
    sdk = excluded.sdk,
    framework = excluded.framework,
    app_version = excluded.app_version,
    checksum = excluded.checksum,
    synced_at_ms = excluded.synced_at_ms,
    functions = excluded.functions;

-- name: delete_transport
-- The app cannot be reached in this way any more.
DELETE FROM transport WHERE app_name = ?1 AND method = ?2;

-- name: put_route
-- Insert or replace what was chosen for a function.
INSERT INTO route (app_name, slug, connect_percent, pin) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (app_name, slug) DO UPDATE SET
    connect_percent = excluded.connect_percent,
    pin = excluded.pin;

-- name: delete_route
-- Nothing is chosen for it any more.
DELETE FROM route WHERE app_name = ?1 AND slug = ?2;

-- name: put_app
-- Insert or replace an app.
INSERT INTO app (
    name, app_id, url, sdk, framework, app_version, checksum, method, synced_at_ms
)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
ON CONFLICT (name) DO UPDATE SET
    app_id = excluded.app_id,
    url = excluded.url,
    sdk = excluded.sdk,
    framework = excluded.framework,
    app_version = excluded.app_version,
    checksum = excluded.checksum,
    method = excluded.method,
    synced_at_ms = excluded.synced_at_ms;

-- name: put_function
-- Insert or replace a function.
INSERT INTO function (
    no, function_id, app_name, slug, version, config, created_at_ms, archived_at_ms
)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (no) DO UPDATE SET
    function_id = excluded.function_id,
    app_name = excluded.app_name,
    slug = excluded.slug,
    version = excluded.version,
    config = excluded.config,
    created_at_ms = excluded.created_at_ms,
    archived_at_ms = excluded.archived_at_ms;

-- name: put_quarantine
-- Keep an input that the engine could not process.
INSERT INTO quarantine (at_ms, run_id, input_repr, traceback) VALUES (?1, ?2, ?3, ?4);

-- name: delete_expired_dedups
-- Delete the pairs that expired first.
DELETE FROM dedup WHERE (function_no, key) IN (
    SELECT function_no, key FROM dedup WHERE expires_at_ms <= ?1
    ORDER BY expires_at_ms, function_no, key LIMIT ?2
);

-- name: put_worker
-- Insert or replace a worker's connection.
INSERT INTO worker (connection_id, instance_id, ended_at_ms, apps, body)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (connection_id) DO UPDATE SET
    instance_id = excluded.instance_id,
    ended_at_ms = excluded.ended_at_ms,
    apps = excluded.apps,
    body = excluded.body;

-- name: put_worker_app
-- Let a connection be found by one of its apps.
INSERT INTO worker_app (app_name, connection_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING;

-- name: worker_cut
-- The last connection, in the order of their ends, that is one too many.
SELECT ended_at_ms, connection_id FROM worker WHERE ended_at_ms IS NOT NULL
ORDER BY ended_at_ms DESC, connection_id DESC LIMIT 1 OFFSET ?1;

-- name: trim_workers
-- Forget connections that ended before a place in that order, the first ones first.
DELETE FROM worker WHERE connection_id IN (
    SELECT connection_id FROM worker
    WHERE ended_at_ms IS NOT NULL AND (ended_at_ms, connection_id) < (?1, ?2)
    ORDER BY ended_at_ms, connection_id LIMIT ?3
)
RETURNING connection_id, apps;

-- name: delete_worker_app
-- The connection is forgotten.
DELETE FROM worker_app WHERE app_name = ?1 AND connection_id = ?2;
