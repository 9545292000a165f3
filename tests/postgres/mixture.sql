-- Fails, by a division by zero, when a statement sees rows of two runs, or a recommendation without a reason.
\set user random(1, :users)
SELECT 1 / (count(DISTINCT updated_at) <= 1 AND count(rec_id) = count(reasons))::int
FROM (
    SELECT updated_at, rec_id, (SELECT min(reason_id) FROM graph_recs.rec_reasons AS reason
                                WHERE reason.user_id = rec.user_id AND reason.rec_id = rec.rec_id) AS reasons
    FROM graph_recs.recommendations AS rec
    WHERE user_id = :user
    UNION ALL
    SELECT updated_at, NULL, NULL FROM graph_recs.rec_reasons WHERE user_id = :user
    UNION ALL
    SELECT updated_at, NULL, NULL FROM graph_recs.closest_connections WHERE user_id = :user
) AS seen;
