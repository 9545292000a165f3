-- severity: error
-- Nobody is recommended who is followed already.
SELECT count(*)
FROM recommendations
LEFT SEMI JOIN (
    SELECT user_id, engaged_with_user_id FROM raw.follows
    WHERE reason IS NULL AND CAST("timestamp" AS BIGINT) <= $as_of
) AS follows
  ON pair(recommendations.user_id, recommendations.rec_id) = pair(follows.user_id, follows.engaged_with_user_id)
