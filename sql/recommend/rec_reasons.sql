-- The published table of reasons: which closest connections lead to a recommendation, and how strongly.
-- in: user_recommendations    grain: user, recommended, reason    key: user_id, rec_id, reason_id
-- order: that of user_recommendations, by user_id; run in one partition
SELECT user_id, reason['rec_id'] AS rec_id, reason['reason_id'] AS reason_id,
       ratio(reason['weight'], $lookback_seconds) AS weight
FROM (SELECT user_id, unnest(reasons) AS reason FROM user_recommendations)
