-- The ranking `seed`: score(u, r) = pred(r) * sum over v of weight(v, r), the highest $recommendations a user.
-- Candidates that are dropped are counted under the first reason that applies.
-- All candidates are one value that the users, who stream past it in their order, share: a row is a user, and nothing is
-- added up but within it. Everybody is joined to that one value, since such a join keeps the order of its right side.
-- in: user_connections, all_candidates, followed    grain: user
SELECT user_id, second['recommendations'] AS recommendations, second['reasons'] AS reasons,
       second['tallies'] AS tallies
FROM (
    SELECT users.user_id,
           second_degree(users.user_id, users.connections, users.followed, candidates.by_user,
                         $recommendations, $min_pred) AS second
    FROM all_candidates AS candidates
    RIGHT JOIN (
        SELECT 0 AS everybody, users.user_id, users.connections, followed.followed
        FROM followed RIGHT JOIN user_connections AS users ON followed.user_id = users.user_id
    ) AS users ON candidates.everybody = users.everybody
)
ORDER BY user_id
