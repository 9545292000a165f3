-- severity: error
-- Everybody who is recommended is a closest connection of the reason, with the reason's weight.
SELECT count(*)
FROM rec_reasons
LEFT ANTI JOIN closest_connections
  ON pair(rec_reasons.reason_id, rec_reasons.rec_id)
   = pair(closest_connections.user_id, closest_connections.closest_connection)
 AND rec_reasons.weight = closest_connections.weight
