-- The published table of closest connections.
-- in: user_connections    grain: user, closest connection    key: user_id, closest_connection
-- order: that of user_connections, by user_id; run in one partition
SELECT user_id, connection['id'] AS closest_connection,
       ratio(connection['weight'], $lookback_seconds) AS weight,
       CAST(rank AS INT) AS rank
FROM (
    SELECT user_id, unnest(connections) AS connection,
           unnest(generate_series(1, CAST(array_length(connections) AS BIGINT))) AS rank
    FROM user_connections
)
