-- The ways from a user over a closest connection, the reason, to one of its closest connections; `weight` is the reason's
-- for the latter, in seconds.
-- in: top_connections    grain: user, reason, candidate    key: user_id, reason_id, rec_id
SELECT connections.user_id, connections.connection_id AS reason_id, theirs.connection_id AS rec_id, theirs.weight
FROM top_connections AS connections
JOIN top_connections AS theirs ON theirs.user_id = connections.connection_id
