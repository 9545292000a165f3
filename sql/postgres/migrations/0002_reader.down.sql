-- The role stays: other databases of the server may know it.
REVOKE ALL ON ALL TABLES IN SCHEMA graph_recs FROM graph_recs_reader;
REVOKE ALL ON SCHEMA graph_recs FROM graph_recs_reader;
