-- The published table of closest connections.
-- in: user_connections    grain: user, closest connection    key: user_id, closest_connection
-- order: that of user_connections, by user_id; run in one partition
SELECT user_id, connection['id'] AS closest_connection,
       ratio(connection['weight'], $lookback_seconds) AS weight,
       rank
FROM (
    SELECT user_id, unnest(connections) AS connection,
           unnest(ranks(connections)) AS rank
    FROM user_connections
)
