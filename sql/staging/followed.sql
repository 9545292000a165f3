-- Whom each user with closest connections follows, however long since. May list somebody twice.
-- in: raw.follows, user_connections    grain: user
SELECT follows.user_id, array_agg(follows.engaged_with_user_id) AS followed
FROM raw.follows AS follows
WHERE follows.reason IS NULL
  AND CAST(follows."timestamp" AS BIGINT) <= $as_of
  AND follows.user_id IN (SELECT user_id FROM user_connections)
GROUP BY follows.user_id
