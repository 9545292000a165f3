-- The ranking `seed`: score(u, r) = pred(r) * sum over v of weight(v, r), the highest $recommendations a user.
-- Candidates that are dropped are counted under the first reason that applies.
-- in: connections, candidates, followed    grain: user
SELECT user_id, second['recommendations'] AS recommendations, second['tallies'] AS tallies
FROM (
    SELECT edges.user_id,
           second_degree(edges.user_id, edges.closest_connection, candidates.candidates, followed.followed,
                         $recommendations, $min_pred) AS second
    FROM connections AS edges
    LEFT JOIN candidates ON edges.closest_connection = candidates.user_id
    LEFT JOIN followed ON edges.user_id = followed.user_id AND edges.rank = 1
    GROUP BY edges.user_id
)
ORDER BY user_id
