-- severity: error
-- Everybody who is recommended is a closest connection of the reason, with the reason's weight.
SELECT count(*)
FROM rec_reasons
LEFT ANTI JOIN closest_connections
  ON rec_reasons.reason_id = closest_connections.user_id
 AND rec_reasons.rec_id = closest_connections.closest_connection
 AND rec_reasons.weight = closest_connections.weight
