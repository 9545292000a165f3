-- Whose transactions keep a publisher waiting.
-- Parameters: $1 the publisher's mark; $2 whether all count that use the tables; $3 whether all count that hold the
-- publishers' lock.
-- Grain: a transaction, under a key that it keeps, with what others may know of it. Of other users' sessions only
-- members of pg_read_all_stats are shown everything.
WITH ours AS MATERIALIZED (
    SELECT pid
    FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1735550307::oid AND objid = $1::oid AND objsubid = 2
),
-- 0 stands for prepared transactions, which have no process.
blockers AS MATERIALIZED (
    SELECT DISTINCT unnest(pg_blocking_pids(pid)) AS pid FROM ours
),
tables AS MATERIALIZED (
    SELECT oid FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'graph_recs_store')
),
held AS (
    SELECT DISTINCT pid, virtualtransaction
    FROM pg_locks
    WHERE granted
      AND (pid IN (SELECT pid FROM blockers)
           OR (relation IN (SELECT oid FROM tables)
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND ($2 OR (pid IS NULL AND 0 IN (SELECT pid FROM blockers))))
           OR ($3 AND locktype = 'advisory' AND classid = 1735553128::oid AND objid = 1919247219::oid AND objsubid = 1))
      AND (pid IS NULL OR pid NOT IN (SELECT pid FROM ours))
)
SELECT concat_ws(' ', held.pid, held.virtualtransaction) AS key,
       CASE
           WHEN held.pid IS NULL THEN format('the prepared transaction %L of %s since %s', prepared.gid, prepared.owner, date_trunc('second', prepared.prepared))
           ELSE format('process %s (%s)', held.pid,
                       concat_ws(', ',
                                 'user ' || activity.usename,
                                 'application ' || nullif(activity.application_name, ''),
                                 nullif(activity.backend_type, 'client backend'),
                                 activity.state,
                                 'transaction since ' || date_trunc('second', activity.xact_start),
                                 'last statement since ' || date_trunc('second', activity.query_start)))
       END AS said
FROM held
LEFT JOIN pg_stat_activity AS activity ON activity.pid = held.pid
LEFT JOIN (SELECT virtualtransaction, gid, owner, prepared
           FROM pg_prepared_xacts
           JOIN pg_locks ON pid IS NULL AND transactionid = transaction) AS prepared
    ON held.pid IS NULL AND prepared.virtualtransaction = held.virtualtransaction
UNION ALL
SELECT DISTINCT 'standby', 'a synchronous standby that does not answer (synchronous_standby_names)'
FROM pg_stat_activity
WHERE pid IN (SELECT pid FROM ours) AND wait_event = 'SyncRep'
