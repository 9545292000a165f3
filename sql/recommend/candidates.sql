-- What each user passes on to those who are close to them: their own closest connections, with all that decides
-- whether and how high one of these may be recommended.
-- in: user_connections, user_reputations, suspended_users    grain: user
SELECT connections.user_id,
       array_agg(named_struct(
           'id', connections.connection['id'],
           'weight', connections.connection['weight'],
           'pred', CAST(reputations.pred AS BIGINT),
           'suspended', suspended.user_id IS NOT NULL)) AS candidates
FROM suspended_users AS suspended
RIGHT JOIN (
    user_reputations AS reputations
    RIGHT JOIN (SELECT user_id, unnest(connections) AS connection FROM user_connections) AS connections
        ON reputations.user_id = connections.connection['id']
) ON suspended.user_id = connections.connection['id']
GROUP BY connections.user_id
