-- How many records of the user source are used or left out; unreadable ones one by one.
-- in: raw.users    grain: source, left_out, unreadable record
SELECT 'user' AS source, reason AS left_out, file, line, raw, count(*) AS records
FROM raw.users
GROUP BY 1, 2, 3, 4, 5
