-- severity: error
-- No key stands twice in one of the four tables.
SELECT (SELECT count(*) FROM (SELECT 1 FROM closest_connections
                              GROUP BY pair(user_id, closest_connection) HAVING count(*) > 1))
     + (SELECT count(*) FROM (SELECT 1 FROM reputation_scores GROUP BY user_id HAVING count(*) > 1))
     + (SELECT count(*) FROM (SELECT 1 FROM recommendations GROUP BY pair(user_id, rec_id) HAVING count(*) > 1))
     + (SELECT count(*) FROM (SELECT 1 FROM rec_reasons
                              GROUP BY pair(user_id, rec_id), reason_id HAVING count(*) > 1))
