-- severity: error
-- Nobody is recommended to themselves.
SELECT count(*) FROM recommendations WHERE user_id = rec_id
