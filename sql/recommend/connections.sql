-- The closest connections one by one.
-- in: user_connections    grain: user, closest connection
SELECT user_id, connection['id'] AS closest_connection, connection['weight'] AS weight
FROM (SELECT user_id, unnest(connections) AS connection FROM user_connections)
