-- The closest connections one by one.
-- in: user_connections    grain: user, closest connection
SELECT user_id, connection['id'] AS closest_connection, connection['weight'] AS weight, rank
FROM (
    SELECT user_id, unnest(connections) AS connection,
           unnest(generate_series(1, CAST(array_length(connections) AS BIGINT))) AS rank
    FROM user_connections
)
