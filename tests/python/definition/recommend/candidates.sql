-- Whom a user's paths lead to, with the reason for which they are dropped, or null. Of several reasons it is the first
-- of this list. `weight` is the sum over paths, in seconds; `pred` is in millionths.
-- in: paths, follows, suspended_users, user_reputations    grain: user, candidate    key: user_id, rec_id
-- invariant: weight > 0; paths >= 1; of whom nothing drops, pred >= $min_pred
SELECT reached.user_id, reached.rec_id, reached.weight, reached.paths, reputations.pred,
       CASE
           WHEN reached.rec_id = reached.user_id THEN 'self'
           WHEN follows.followed_id IS NOT NULL THEN 'followed'
           WHEN suspended.user_id IS NOT NULL THEN 'suspended'
           WHEN reputations.pred IS NULL THEN 'without_score'
           WHEN reputations.pred < $min_pred THEN 'low_reputation'
       END AS dropped
FROM (
    SELECT user_id, rec_id, CAST(sum(weight) AS BIGINT) AS weight, count(*) AS paths
    FROM paths
    GROUP BY user_id, rec_id
) AS reached
LEFT JOIN follows ON follows.user_id = reached.user_id AND follows.followed_id = reached.rec_id
LEFT JOIN suspended_users AS suspended ON suspended.user_id = reached.rec_id
LEFT JOIN user_reputations AS reputations ON reputations.user_id = reached.rec_id
