-- What each user passes on to those who are close to them: their own closest connections, with all that decides
-- whether and how high one of these may be recommended. `standing` is the reputation in millionths, or -1 without one,
-- or -2 when suspended: one number, so that ranking has less memory to wait for.
-- Standings are looked up in one table of them, not joined: so lists stay lists.
-- in: user_connections, user_reputations, suspended_users    grain: user
SELECT user_id, with_standing(connections, standings.by_user) AS candidates
FROM (
    -- Of two standings of a user the smaller counts: suspended, whatever the score.
    SELECT id_map(user_id, standing) AS by_user
    FROM (
        SELECT user_id, CAST(-2 AS INT) AS standing FROM suspended_users
        UNION ALL
        SELECT user_id, pred FROM user_reputations
    )
) AS standings
CROSS JOIN user_connections
