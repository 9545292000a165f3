-- What became of the records of the users: used, or left out by reason.
-- in: raw.users    grain: source, left_out    key: source, left_out
SELECT 'user' AS source, reason AS left_out, count(*) AS records
FROM raw.users
GROUP BY reason
