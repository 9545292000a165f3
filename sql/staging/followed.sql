-- Whom each user with closest connections follows, however long since. May list somebody twice.
-- in: raw.follows, user_connections    grain: user
SELECT follows.user_id, array_agg(follows.engaged_with_user_id) AS followed
FROM user_connections
RIGHT SEMI JOIN (
    SELECT user_id, engaged_with_user_id FROM raw.follows
    WHERE reason IS NULL AND CAST("timestamp" AS BIGINT) <= $as_of
) AS follows ON user_connections.user_id = follows.user_id
GROUP BY follows.user_id
