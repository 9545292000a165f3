-- severity: error
-- No column of the three tables is null.
SELECT CASE
    -- The server vouches for columns that are declared NOT NULL.
    WHEN NOT EXISTS (SELECT
                     FROM pg_attribute
                     JOIN pg_class ON attrelid = pg_class.oid
                     WHERE relnamespace = 'graph_recs_store'::regnamespace AND relname ~ '_[01]$' AND relkind = 'r'
                       AND attnum > 0 AND NOT attisdropped AND NOT attnotnull)
    THEN 0
    ELSE (SELECT count(*) FROM graph_recs.closest_connections
          WHERE user_id IS NULL OR closest_connection IS NULL OR weight IS NULL OR rank IS NULL
             OR created_at IS NULL OR updated_at IS NULL)
       + (SELECT count(*) FROM graph_recs.recommendations
          WHERE user_id IS NULL OR rec_id IS NULL OR rank IS NULL OR score IS NULL
             OR created_at IS NULL OR updated_at IS NULL)
       + (SELECT count(*) FROM graph_recs.rec_reasons
          WHERE user_id IS NULL OR rec_id IS NULL OR reason_id IS NULL OR weight IS NULL
             OR created_at IS NULL OR updated_at IS NULL)
END
