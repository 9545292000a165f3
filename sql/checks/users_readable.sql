-- severity: warn
-- Every user whose id can be read has a record that can be read; the others count as suspended until it is mended.
SELECT count(*)
FROM (SELECT user_id FROM raw.users WHERE user_id IS NOT NULL GROUP BY user_id HAVING count(suspended) = 0)
