-- Whom each user follows, however long since.
-- in: raw.follows    grain: user, followed user    key: user_id, followed_id
SELECT DISTINCT user_id, engaged_with_user_id AS followed_id
FROM raw.follows
WHERE reason IS NULL AND CAST(extract(epoch FROM "timestamp") AS BIGINT) <= $as_of
