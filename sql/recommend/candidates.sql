-- What each user passes on to those who are close to them: their own closest connections, with all that decides
-- whether and how high one of these may be recommended. `standing` is the reputation in millionths, or -1 without one,
-- or -2 when suspended: one number, so that ranking has less memory to wait for.
-- in: user_connections, user_reputations, suspended_users    grain: user
SELECT connections.user_id,
       array_agg(named_struct(
           'id', connections.connection['id'],
           'weight', connections.connection['weight'],
           'standing', coalesce(standings.standing, CAST(-1 AS INT)))) AS candidates
FROM (
    SELECT user_id, CAST(-2 AS INT) AS standing FROM suspended_users
    UNION ALL
    SELECT reputations.user_id, reputations.pred
    FROM suspended_users RIGHT ANTI JOIN user_reputations AS reputations
      ON suspended_users.user_id = reputations.user_id
) AS standings
RIGHT JOIN (SELECT user_id, unnest(connections) AS connection FROM user_connections) AS connections
    ON standings.user_id = connections.connection['id']
GROUP BY connections.user_id
