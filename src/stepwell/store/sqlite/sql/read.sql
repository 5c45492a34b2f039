-- Reads for the API and for building calls.

-- name: begin
-- See one state of the data over several statements.
BEGIN;

-- name: end
-- Let go of that state.
COMMIT;

-- name: event
-- One event.
SELECT
    event_id, event_name.name, ts_after_ms, data, external_id, user, v, meta, source_run, runs
FROM event JOIN event_name ON event_name.no = event.name_no
WHERE internal IN (0, 1) AND event_id = ?1;

-- name: events
-- Events between two ids, newest first; internal ones apart from the others.
SELECT
    event_id, event_name.name, ts_after_ms, data, external_id, user, v, meta, source_run, runs
FROM event CROSS JOIN event_name ON event_name.no = event.name_no
WHERE internal = ?1 AND event_id >= ?2 AND event_id < ?3
ORDER BY event_id DESC LIMIT ?4;

-- name: events_named
-- Events of one name between two ids, newest first.
SELECT
    event.event_id, event_name.name, ts_after_ms, data, external_id, user, v, meta, source_run,
    runs
FROM event CROSS JOIN event_name ON event_name.no = event.name_no
WHERE name_no = ?1 AND name_no <> 1 AND event_id >= ?2 AND event_id < ?3
ORDER BY event_id DESC LIMIT ?4;

-- name: events_finished
-- Events that tell of finished runs, between two ids, newest first.
SELECT
    event_id, event_name.name, ts_after_ms, data, external_id, user, v, meta, source_run, runs
FROM event CROSS JOIN event_name ON event_name.no = event.name_no
WHERE internal = 1 AND name_no = 1 AND event_id >= ?1 AND event_id < ?2
ORDER BY event_id DESC LIMIT ?3;

-- name: count_events
-- Events between two ids, internal ones apart from the others; no more than so many.
SELECT count(*) FROM (
    SELECT 1 FROM event WHERE internal = ?1 AND event_id >= ?2 AND event_id < ?3 LIMIT ?4
);

-- name: count_events_named
-- Events of one name between two ids; no more than so many.
SELECT count(*) FROM (
    SELECT 1 FROM event
    WHERE name_no = ?1 AND name_no <> 1 AND event_id >= ?2 AND event_id < ?3 LIMIT ?4
);

-- name: count_events_finished
-- Events that tell of finished runs, between two ids; no more than so many.
SELECT count(*) FROM (
    SELECT 1 FROM event
    WHERE internal = 1 AND name_no = 1 AND event_id >= ?1 AND event_id < ?2 LIMIT ?3
);

-- name: event_name_no
-- The number of an event name.
SELECT no FROM event_name WHERE name = ?1;

-- name: run
-- One run.
SELECT
    run_id, function_no, event_id, status, started_after_ms, ended_after_ms, output
FROM run WHERE run_id = ?1;

-- name: run_listed
-- One run of a list, a large output left out.
SELECT
    run_id, function_no, event_id, status, started_after_ms, ended_after_ms,
    iif(length(output) > 65536, NULL, output)
FROM run WHERE run_id = ?1;

-- name: runs_newest
-- Runs between two ids, newest first, large outputs left out.
SELECT
    run_id, function_no, event_id, status, started_after_ms, ended_after_ms,
    iif(length(output) > 65536, NULL, output)
FROM run WHERE run_id >= ?1 AND run_id < ?2 ORDER BY run_id DESC LIMIT ?3;

-- name: runs_oldest
-- Runs between two ids, oldest first, large outputs left out.
SELECT
    run_id, function_no, event_id, status, started_after_ms, ended_after_ms,
    iif(length(output) > 65536, NULL, output)
FROM run WHERE run_id >= ?1 AND run_id < ?2 ORDER BY run_id LIMIT ?3;

-- name: run_ids_newest
-- Ids of the runs of one function and status between two ids, newest first.
SELECT run_id FROM run
WHERE function_no = ?1 AND status = ?2 AND run_id >= ?3 AND run_id < ?4
ORDER BY run_id DESC LIMIT ?5;

-- name: run_ids_oldest
-- Ids of the runs of one function and status between two ids, oldest first.
SELECT run_id FROM run
WHERE function_no = ?1 AND status = ?2 AND run_id >= ?3 AND run_id < ?4
ORDER BY run_id LIMIT ?5;

-- name: count_runs
-- Runs between two ids; no more than so many.
SELECT count(*) FROM (SELECT 1 FROM run WHERE run_id >= ?1 AND run_id < ?2 LIMIT ?3);

-- name: count_run_ids
-- Runs of one function and status between two ids; no more than so many.
SELECT count(*) FROM (
    SELECT 1 FROM run
    WHERE function_no = ?1 AND status = ?2 AND run_id >= ?3 AND run_id < ?4 LIMIT ?5
);

-- name: run_functions
-- Functions that have runs: one look-up in the index for each.
WITH RECURSIVE found (no) AS (
    SELECT min(function_no) FROM run
    UNION ALL
    SELECT (SELECT min(function_no) FROM run WHERE function_no > found.no)
    FROM found WHERE found.no IS NOT NULL
)
SELECT no FROM found WHERE no IS NOT NULL;

-- name: steps
-- The steps of a run, in order.
SELECT step_id, position, kind, name, data, attempt, ended_after_ms, took_ms
FROM step WHERE run_id = ?1 ORDER BY position;

-- name: history
-- The history of a run, in order.
SELECT seq, at_after_ms, kind, step_id, name, attempt, payload
FROM history WHERE run_id = ?1 ORDER BY seq;

-- name: history_row
-- One row of the history of a run.
SELECT seq, at_after_ms, kind, step_id, name, attempt, payload
FROM history WHERE run_id = ?1 AND seq = ?2;

-- name: request_secrets
-- What a request must not show.
SELECT secrets FROM request_secrets WHERE run_id = ?1 AND seq = ?2;

-- name: live_state
-- The engine's state of a run that is not over.
SELECT state FROM live WHERE run_id = ?1;

-- name: quarantined
-- Inputs that the engine could not process, the last one first.
SELECT at_ms, run_id, input_repr, traceback FROM quarantine ORDER BY no DESC LIMIT ?1;

-- name: count_live
-- Runs that are not over.
SELECT count(*) FROM live;

-- name: worker
-- One connection of a worker.
SELECT connection_id, body FROM worker WHERE connection_id = ?1;

-- name: ended_workers
-- Connections that ended, newest first.
SELECT connection_id, body FROM worker
WHERE connection_id < ?1 AND ended_at_ms IS NOT NULL
ORDER BY connection_id DESC LIMIT ?2;

-- name: ended_workers_of_app
-- The same, of one app.
SELECT worker.connection_id, body
FROM worker_app CROSS JOIN worker ON worker.connection_id = worker_app.connection_id
WHERE worker_app.app_name = ?3 AND worker_app.connection_id < ?1 AND ended_at_ms IS NOT NULL
ORDER BY worker_app.connection_id DESC LIMIT ?2;

-- name: ended_workers_of_instance
-- The same, of one instance; of one app, if that is not null.
SELECT connection_id, body FROM worker
WHERE instance_id = ?4 AND connection_id < ?1 AND ended_at_ms IS NOT NULL
    AND (?3 IS NULL OR EXISTS (
        SELECT 1 FROM worker_app
        WHERE worker_app.app_name = ?3 AND worker_app.connection_id = worker.connection_id
    ))
ORDER BY connection_id DESC LIMIT ?2;

-- name: open_workers
-- Connections that have not ended.
SELECT connection_id, body FROM worker WHERE ended_at_ms IS NULL ORDER BY connection_id LIMIT ?1;
