-- The users by how often they are recommended.
-- in: recommendations, reputation_scores    grain: recommended user
SELECT often.rec_id, often.recommended, often.as_first, often.mean_rank, reputation.pred AS reputation
FROM (
    SELECT rec_id, count(*) AS recommended, sum(CASE WHEN rank = 1 THEN 1 ELSE 0 END) AS as_first,
           avg(rank) AS mean_rank
    FROM recommendations
    GROUP BY rec_id
) AS often
LEFT JOIN reputation_scores AS reputation ON reputation.user_id = often.rec_id
ORDER BY often.recommended DESC, often.rec_id
