-- The published table of reasons: which closest connections lead to a recommendation, and how strongly.
-- in: top_reasons    grain: user, recommended, reason    key: user_id, rec_id, reason_id
SELECT user_id, rec_id, reason_id, ratio(weight, $lookback_seconds) AS weight
FROM top_reasons
