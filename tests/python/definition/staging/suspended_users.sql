-- The suspended users. A user who is listed twice is suspended when any of the rows says so; a user none of whose records
-- can be read, but whose id can, counts as suspended.
-- in: raw.users    grain: user    invariant: user_id > 0
SELECT user_id
FROM raw.users
WHERE user_id IS NOT NULL
GROUP BY user_id
HAVING bool_or(suspended) OR count(suspended) = 0
