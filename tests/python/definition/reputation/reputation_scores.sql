-- The published table of reputation scores.
-- in: user_reputations    grain: user    key: user_id
SELECT user_id, CAST(pred AS DOUBLE) / 1000000 AS pred, weeks
FROM user_reputations
