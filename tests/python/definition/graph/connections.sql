-- How strongly each user engages with each other one: `weight` is the sum over engagements, in seconds.
-- in: engagements    grain: user, connection    key: user_id, connection_id    invariant: weight > 0
SELECT user_id, engaged_with_user_id AS connection_id, CAST(sum(weight) AS BIGINT) AS weight
FROM engagements
GROUP BY user_id, engaged_with_user_id
