-- severity: error
-- Nobody has more closest connections than asked for.
SELECT count(*) FROM (SELECT user_id FROM closest_connections GROUP BY user_id HAVING count(*) > $closest)
