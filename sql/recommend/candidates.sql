-- What each user passes on to those who are close to them: their own closest connections, with all that decides
-- whether and how high one of these may be recommended.
-- in: connections, user_reputations, suspended_users    grain: user
SELECT connections.user_id,
       array_agg(named_struct(
           'id', connections.closest_connection,
           'weight', connections.weight,
           'pred', CAST(reputations.pred AS BIGINT),
           'suspended', suspended.user_id IS NOT NULL)) AS candidates
FROM suspended_users AS suspended
RIGHT JOIN (
    user_reputations AS reputations
    RIGHT JOIN connections ON reputations.user_id = connections.closest_connection
) ON suspended.user_id = connections.closest_connection
GROUP BY connections.user_id
