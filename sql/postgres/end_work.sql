-- Ends what publishers left at work: a server whose client is gone does not always notice it.
-- Parameters: $1 the mark of who asks; $2 whether it is about others who load a slot, which who holds the publishers'
-- lock may ask: they lost it. Else it is about who asks.
SELECT pg_terminate_backend(pid)
FROM pg_locks
JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid = 1735550307::oid AND objsubid = 2
  AND datname = current_database() AND usename = session_user AND pid <> pg_backend_pid()
  AND CASE
          WHEN $2 THEN objid <> $1::oid
                       AND pid IN (SELECT pid FROM pg_locks WHERE relation = to_regclass('graph_recs_store.slots'))
          ELSE objid = $1::oid
      END
