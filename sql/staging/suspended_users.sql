-- The suspended users. A user who is listed twice is suspended when any of the rows says so.
-- in: raw.users    grain: user
SELECT DISTINCT user_id
FROM raw.users
WHERE suspended
