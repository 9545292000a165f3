-- severity: error
-- Nobody is recommended who is followed already.
SELECT count(*)
FROM recommendations
LEFT SEMI JOIN (
    SELECT user_id, engaged_with_user_id FROM raw.follows
    WHERE reason IS NULL AND CAST("timestamp" AS BIGINT) <= $as_of
) AS follows
  ON recommendations.user_id = follows.user_id AND recommendations.rec_id = follows.engaged_with_user_id
