-- The ranking `seed`: score(u, r) = pred(r) * sum over v of weight(v, r), the highest $recommendations a user.
-- Candidates that are dropped are counted under the first reason that applies.
-- The window sorts the narrow rows by user; the joins, whose lists are broadcast, keep that order; so the aggregate
-- sees one user after the other and holds no more than one at a time. Candidates are joined by reference: each list
-- serves all who are close to its user.
-- in: connections, candidates, followed    grain: user
SELECT user_id, second['recommendations'] AS recommendations, second['tallies'] AS tallies
FROM (
    SELECT edges.user_id,
           second_degree(edges.user_id, edges.closest_connection, candidates.candidates, followed.followed,
                         $recommendations, $min_pred) AS second
    FROM (SELECT user_id, by_reference(candidates) AS candidates FROM candidates) AS candidates
    RIGHT JOIN (
        followed
        RIGHT JOIN (
            SELECT user_id, closest_connection,
                   row_number() OVER (PARTITION BY user_id ORDER BY weight DESC, closest_connection) AS rank
            FROM connections
        ) AS edges ON followed.user_id = edges.user_id AND edges.rank = 1
    ) ON candidates.user_id = edges.closest_connection
    GROUP BY edges.user_id
)
ORDER BY user_id
