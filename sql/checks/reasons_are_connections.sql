-- severity: error
-- Every reason is a closest connection of the user.
SELECT count(*)
FROM rec_reasons
LEFT ANTI JOIN closest_connections
  ON pair(rec_reasons.user_id, rec_reasons.reason_id)
   = pair(closest_connections.user_id, closest_connections.closest_connection)
