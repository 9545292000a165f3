-- severity: error
-- Nobody has more recommendations than asked for.
SELECT count(*) FROM (SELECT user_id FROM recommendations GROUP BY user_id HAVING count(*) > $recommendations)
