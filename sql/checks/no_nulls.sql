-- severity: error
-- No column of the four tables is null.
SELECT (SELECT count(*) FROM closest_connections
        WHERE user_id IS NULL OR closest_connection IS NULL OR weight IS NULL OR rank IS NULL)
     + (SELECT count(*) FROM reputation_scores WHERE user_id IS NULL OR pred IS NULL OR weeks IS NULL)
     + (SELECT count(*) FROM recommendations
        WHERE user_id IS NULL OR rec_id IS NULL OR rank IS NULL OR score IS NULL)
     + (SELECT count(*) FROM rec_reasons
        WHERE user_id IS NULL OR rec_id IS NULL OR reason_id IS NULL OR weight IS NULL)
