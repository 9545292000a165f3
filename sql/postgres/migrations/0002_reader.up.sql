-- Who reads is a member of graph_recs_reader: GRANT graph_recs_reader TO somebody. Roles belong to all databases of a
-- server, so this one may be there already; who migrates needs CREATEROLE only when it is not.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'graph_recs_reader') THEN
        CREATE ROLE graph_recs_reader NOLOGIN;
    END IF;
END
$$;
GRANT USAGE ON SCHEMA graph_recs TO graph_recs_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA graph_recs TO graph_recs_reader;
