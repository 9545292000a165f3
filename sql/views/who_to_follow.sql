-- Whom $user should follow, best first, each with its reasons in words.
-- in: recommendations, rec_reasons, reputation_scores    grain: recommendation of $user
SELECT rec.user_id, rec.rank, rec.rec_id, rec.score, round(reputation.pred, 6) AS reputation, why.connections,
       concat(
           CASE WHEN why.connections = 1 THEN concat('user ', why.ids, ', whom user ', rec.user_id, ' engages with closely, engages')
                ELSE concat(why.connections, ' users whom user ', rec.user_id, ' engages with closely engage') END,
           ' closely with user ', rec.rec_id,
           CASE WHEN why.connections = 1 THEN '' ELSE concat(': ', why.ids) END,
           coalesce(concat('; reputation ', CAST(round(reputation.pred * 100) AS INT), ' %'), '')
       ) AS reasons
FROM recommendations AS rec
JOIN (
    SELECT user_id, rec_id, count(*) AS connections,
           string_agg(CAST(reason_id AS VARCHAR), ', ' ORDER BY weight DESC, reason_id) AS ids
    FROM rec_reasons
    WHERE user_id = $user
    GROUP BY user_id, rec_id
) AS why ON rec.user_id = why.user_id AND rec.rec_id = why.rec_id
LEFT JOIN reputation_scores AS reputation ON reputation.user_id = rec.rec_id
WHERE rec.user_id = $user
ORDER BY rec.rank
