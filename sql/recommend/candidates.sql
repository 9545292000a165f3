-- What each user passes on to those who are close to them: their own closest connections, with all that decides
-- whether and how high one of these may be recommended.
-- in: connections, user_reputations, suspended_users    grain: user
SELECT connections.user_id,
       array_agg(named_struct(
           'id', connections.closest_connection,
           'weight', connections.weight,
           'pred', CAST(reputations.pred AS BIGINT),
           'suspended', suspended.user_id IS NOT NULL)) AS candidates
FROM connections
LEFT JOIN user_reputations AS reputations ON connections.closest_connection = reputations.user_id
LEFT JOIN suspended_users AS suspended ON connections.closest_connection = suspended.user_id
GROUP BY connections.user_id
