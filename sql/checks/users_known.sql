-- severity: warn
-- Everybody with closest connections, and everybody among them, is listed in the user source.
SELECT count(*)
FROM (SELECT user_id FROM closest_connections
      UNION SELECT closest_connection FROM closest_connections) AS seen
LEFT ANTI JOIN (SELECT user_id FROM raw.users WHERE reason IS NULL) AS users ON seen.user_id = users.user_id
