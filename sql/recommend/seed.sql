-- The ranking `seed`: score(u, r) = pred(r) * sum over v of weight(v, r), the highest $recommendations a user.
-- Candidates that are dropped are counted under the first reason that applies.
-- Users stream in their order past what is held in memory; so the aggregate sees one user after the other and holds no
-- more than one at a time. Lists are joined by reference: a user's own serves all its rows, a candidates' list all who
-- are close to its user.
-- in: user_connections, candidates, followed    grain: user
SELECT user_id, second['recommendations'] AS recommendations, second['reasons'] AS reasons,
       second['tallies'] AS tallies
FROM (
    SELECT edges.user_id,
           second_degree(edges.user_id, edges.closest_connection, candidates.candidates, edges.followed,
                         $recommendations, $min_pred) AS second
    FROM (SELECT user_id, by_reference(candidates) AS candidates FROM candidates) AS candidates
    RIGHT JOIN (
        SELECT user_id, followed, connection['id'] AS closest_connection
        FROM (
            SELECT user_id, followed, unnest(connections) AS connection
            FROM (
                SELECT users.user_id, users.connections, by_reference(followed.followed) AS followed
                FROM followed RIGHT JOIN user_connections AS users ON followed.user_id = users.user_id
            )
        )
    ) AS edges ON candidates.user_id = edges.closest_connection
    GROUP BY edges.user_id
)
ORDER BY user_id
