-- severity: error
-- Every weight is above 0.
SELECT (SELECT count(*) FROM closest_connections WHERE weight <= 0)
     + (SELECT count(*) FROM rec_reasons WHERE weight <= 0)
