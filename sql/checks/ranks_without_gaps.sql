-- severity: error
-- Each user's ranks run from 1 to their number.
SELECT (SELECT count(*) FROM (SELECT user_id FROM closest_connections GROUP BY user_id
                              HAVING min(rank) <> 1 OR max(rank) <> count(*)
                                  OR array_length(array_distinct(array_agg(rank))) <> count(*)))
     + (SELECT count(*) FROM (SELECT user_id FROM recommendations GROUP BY user_id
                              HAVING min(rank) <> 1 OR max(rank) <> count(*)
                                  OR array_length(array_distinct(array_agg(rank))) <> count(*)))
