-- Whom each user follows, however long since, as one value.
-- in: raw.follows    grain: everything
SELECT id_lists(user_id, engaged_with_user_id) AS by_user
FROM raw.follows
WHERE reason IS NULL AND CAST("timestamp" AS BIGINT) <= $as_of
