-- severity: error
-- Every reputation lies from 0 to 1.
SELECT count(*) FROM reputation_scores WHERE NOT (pred >= 0 AND pred <= 1)
