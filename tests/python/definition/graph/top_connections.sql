-- The $closest strongest connections of each user, ties by the smaller id; `weight` is in seconds.
-- in: connections    grain: user, connection    key: user_id, connection_id
-- invariant: rank counts a user's connections from 1
SELECT user_id, connection_id, weight, CAST(place AS INT) AS rank
FROM (
    SELECT user_id, connection_id, weight,
           row_number() OVER (PARTITION BY user_id ORDER BY weight DESC, connection_id) AS place
    FROM connections
)
WHERE place <= $closest
