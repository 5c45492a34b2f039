-- What a partition loads, and what the runtime asks before it decides.

-- name: apps
-- All apps, by name.
SELECT name, app_id, url, sdk, framework, app_version, checksum, method, synced_at_ms
FROM app ORDER BY name;

-- name: functions
-- All functions, by number.
SELECT no, function_id, app_name, slug, version, config, created_at_ms, archived_at_ms
FROM function ORDER BY no;

-- name: live_run
-- A live run, the next number in its history, and whether it has steps.
SELECT
    run.run_id, run.function_no, run.event_id, run.status, run.started_after_ms,
    live.queued_score, live.wake_at_ms, live.state,
    (SELECT coalesce(max(seq), -1) + 1 FROM history WHERE history.run_id = live.run_id),
    EXISTS (SELECT 1 FROM step WHERE step.run_id = live.run_id)
FROM live JOIN run USING (run_id)
WHERE live.run_id = ?1;

-- name: queued_runs
-- The queue of a function behind a place in it.
SELECT
    run.run_id, run.function_no, run.event_id, run.status, run.started_after_ms,
    live.queued_score, live.wake_at_ms, live.state,
    (SELECT coalesce(max(seq), -1) + 1 FROM history WHERE history.run_id = live.run_id),
    EXISTS (SELECT 1 FROM step WHERE step.run_id = live.run_id)
FROM live JOIN run USING (run_id)
WHERE live.function_no = ?1 AND live.queued_score IS NOT NULL
    AND (live.queued_score, live.run_id) > (?2, ?3)
ORDER BY live.queued_score, live.run_id LIMIT ?4;

-- name: due_runs
-- What is due up to a time, behind a place in that order.
SELECT
    run.run_id, run.function_no, run.event_id, run.status, run.started_after_ms,
    live.queued_score, live.wake_at_ms, live.state,
    (SELECT coalesce(max(seq), -1) + 1 FROM history WHERE history.run_id = live.run_id),
    EXISTS (SELECT 1 FROM step WHERE step.run_id = live.run_id)
FROM live JOIN run USING (run_id)
WHERE live.wake_at_ms IS NOT NULL AND live.wake_at_ms <= ?1
    AND (live.wake_at_ms, live.run_id) > (?2, ?3)
ORDER BY live.wake_at_ms, live.run_id LIMIT ?4;

-- name: step_refs
-- The steps of a run with their sizes, in order; the data is not read.
SELECT step_id, length(data) FROM step WHERE run_id = ?1 ORDER BY position;

-- name: queued_functions
-- Functions with a queue: one look-up in the index for each.
WITH RECURSIVE found (no) AS (
    SELECT min(function_no) FROM live WHERE queued_score IS NOT NULL
    UNION ALL
    SELECT (
        SELECT min(function_no) FROM live
        WHERE queued_score IS NOT NULL AND function_no > found.no
    )
    FROM found WHERE found.no IS NOT NULL
)
SELECT no FROM found WHERE no IS NOT NULL;

-- name: next_wake
-- The first due time behind a given one.
SELECT min(wake_at_ms) FROM live WHERE wake_at_ms > ?1;

-- name: knows_event
-- Whether an event is stored.
SELECT 1 FROM event WHERE internal IN (0, 1) AND event_id = ?1;

-- name: dedup_run
-- The run that a pair started, unless it has expired.
SELECT run_id FROM dedup WHERE function_no = ?1 AND key = ?2 AND expires_at_ms > ?3;

-- name: count_stranded
-- Live runs without a reason to be alive, from their own index.
SELECT count(*) FROM live WHERE queued_score IS NULL AND wake_at_ms IS NULL;

-- name: watched
-- What is watched for in events: names, and where they must have a value.
SELECT subject, path, count(*), max(watch_id) FROM watch WHERE kind = 1 GROUP BY subject, path;

-- name: watches
-- Those that may match, made between two ids, in order.
SELECT watch_id, run_id FROM watch
WHERE kind = ?1 AND subject = ?2 AND path = ?3 AND value = ?4 AND watch_id > ?5 AND watch_id < ?6
ORDER BY watch_id LIMIT ?7;

-- name: errands
-- What is still to be done, in order.
SELECT errand_id, body FROM errand WHERE errand_id > ?1 ORDER BY errand_id LIMIT ?2;

-- name: transports
-- All ways to all apps.
SELECT app_name, method, url, sdk, framework, app_version, checksum, synced_at_ms, functions
FROM transport ORDER BY app_name, method;

-- name: routes
-- All routes.
SELECT app_name, slug, connect_percent, pin FROM route ORDER BY app_name, slug;

-- name: schedules
-- All schedules.
SELECT function_no, cron, last_ms FROM schedule ORDER BY function_no, cron;
