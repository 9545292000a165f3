-- The published table of reasons: which closest connections lead to a recommendation, and how strongly.
-- in: user_recommendations    grain: user, recommended, reason    key: user_id, rec_id, reason_id
-- order: that of user_recommendations, by user_id; run in one partition
SELECT user_id, rec_id, reason['reason_id'] AS reason_id,
       CAST(ratio(reason['weight'], $lookback_seconds) AS DECIMAL(18, 8)) AS weight
FROM (
    SELECT user_id, recommendation['rec_id'] AS rec_id, unnest(recommendation['reasons']) AS reason
    FROM (SELECT user_id, unnest(recommendations) AS recommendation FROM user_recommendations)
)
