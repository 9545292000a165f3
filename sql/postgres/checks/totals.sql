-- severity: error
-- Each table has as many rows as the warehouse's, and each column the same sum.
WITH found AS (
    SELECT 'closest_connections' AS name,
           jsonb_build_object(
               'rows', count(*),
               'user_id', coalesce(sum(user_id), 0),
               'closest_connection', coalesce(sum(closest_connection), 0),
               'weight', coalesce(sum(weight), 0),
               'rank', coalesce(sum(rank), 0)) AS totals
    FROM graph_recs.closest_connections
    UNION ALL
    SELECT 'recommendations',
           jsonb_build_object(
               'rows', count(*),
               'user_id', coalesce(sum(user_id), 0),
               'rec_id', coalesce(sum(rec_id), 0),
               'rank', coalesce(sum(rank), 0),
               'score', coalesce(sum(score), 0))
    FROM graph_recs.recommendations
    UNION ALL
    SELECT 'rec_reasons',
           jsonb_build_object(
               'rows', count(*),
               'user_id', coalesce(sum(user_id), 0),
               'rec_id', coalesce(sum(rec_id), 0),
               'reason_id', coalesce(sum(reason_id), 0),
               'weight', coalesce(sum(weight), 0))
    FROM graph_recs.rec_reasons
)
SELECT count(*)
FROM found
CROSS JOIN (SELECT totals FROM graph_recs.runs ORDER BY publication DESC LIMIT 1) AS run
WHERE run.totals -> found.name IS DISTINCT FROM found.totals
