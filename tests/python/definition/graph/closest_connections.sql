-- The published table of closest connections.
-- in: top_connections    grain: user, closest connection    key: user_id, closest_connection
SELECT user_id, connection_id AS closest_connection, ratio(weight, $lookback_seconds) AS weight, rank
FROM top_connections
