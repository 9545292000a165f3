-- severity: error
-- Nobody is recommended who is suspended.
SELECT count(*)
FROM recommendations
LEFT SEMI JOIN suspended_users ON recommendations.rec_id = suspended_users.user_id
