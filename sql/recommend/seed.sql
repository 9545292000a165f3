-- The ranking `seed`: score(u, r) = pred(r) * sum over v of weight(v, r), the highest $recommendations a user.
-- Candidates that are dropped are counted under the first reason that applies.
-- All candidates are one value that the users, who stream past it in their order, share, and whom they follow is another: a
-- row is a user, and nothing is added up but within it. Everybody is joined to these values, since such a join keeps the
-- order of its right side.
-- in: user_connections, all_candidates, followed    grain: user
SELECT user_id, second['recommendations'] AS recommendations, second['reasons'] AS reasons,
       second['tallies'] AS tallies
FROM (
    SELECT users.user_id,
           second_degree(users.user_id, users.connections, items_of(shared.followed, users.user_id), shared.candidates,
                         $recommendations, $min_pred) AS second
    FROM (
        SELECT candidates.everybody, candidates.by_user AS candidates, followed.by_user AS followed
        FROM all_candidates AS candidates CROSS JOIN followed
    ) AS shared
    RIGHT JOIN (SELECT 0 AS everybody, user_id, connections FROM user_connections) AS users
    ON shared.everybody = users.everybody
)
ORDER BY user_id
