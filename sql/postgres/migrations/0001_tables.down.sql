DROP SCHEMA graph_recs CASCADE;
DROP TABLE graph_recs_store.slots,
    graph_recs_store.closest_connections,
    graph_recs_store.recommendations,
    graph_recs_store.rec_reasons CASCADE;
DROP TABLE IF EXISTS
    graph_recs_store.closest_connections_0, graph_recs_store.closest_connections_1,
    graph_recs_store.recommendations_0, graph_recs_store.recommendations_1,
    graph_recs_store.rec_reasons_0, graph_recs_store.rec_reasons_1;
