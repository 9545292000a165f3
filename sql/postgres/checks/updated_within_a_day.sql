-- severity: error
-- No row was last written more than a day before the run, or after it, or first written after it was last written.
SELECT (SELECT count(*) FROM graph_recs.closest_connections
        WHERE updated_at < run.as_of - interval '24 hours' OR updated_at > run.as_of OR created_at > updated_at)
     + (SELECT count(*) FROM graph_recs.recommendations
        WHERE updated_at < run.as_of - interval '24 hours' OR updated_at > run.as_of OR created_at > updated_at)
     + (SELECT count(*) FROM graph_recs.rec_reasons
        WHERE updated_at < run.as_of - interval '24 hours' OR updated_at > run.as_of OR created_at > updated_at)
FROM graph_recs.current_run AS run
