-- What the user lacks to publish, one row each: what was dropped, what belongs to somebody else, what may not be written.
-- Who takes partitions out of a table, puts them back and makes their indexes must own them.
WITH wanted (schema, name, owned) AS (VALUES
    ('graph_recs_store', 'closest_connections', true),
    ('graph_recs_store', 'closest_connections_0', true),
    ('graph_recs_store', 'closest_connections_1', true),
    ('graph_recs_store', 'recommendations', true),
    ('graph_recs_store', 'recommendations_0', true),
    ('graph_recs_store', 'recommendations_1', true),
    ('graph_recs_store', 'rec_reasons', true),
    ('graph_recs_store', 'rec_reasons_0', true),
    ('graph_recs_store', 'rec_reasons_1', true),
    ('graph_recs_store', 'slots', false),
    ('graph_recs', 'closest_connections', false),
    ('graph_recs', 'recommendations', false),
    ('graph_recs', 'rec_reasons', false),
    ('graph_recs', 'runs', false),
    ('graph_recs', 'quality_results', false),
    ('graph_recs', 'current_run', false)
),
found AS (
    SELECT schema, name, owned, pg_class.oid, relowner, relkind
    FROM wanted
    LEFT JOIN pg_namespace ON nspname = schema
    LEFT JOIN pg_class ON relnamespace = pg_namespace.oid AND relname = name
)
SELECT format('%s.%s is not there', schema, name) FROM found WHERE oid IS NULL
UNION ALL
SELECT format('%s.%s belongs to %s', schema, name, pg_get_userbyid(relowner))
FROM found
WHERE owned AND NOT pg_has_role(current_user, relowner, 'USAGE')
UNION ALL
SELECT format('%s.%s may not be read', schema, name)
FROM found
WHERE NOT has_table_privilege(current_user, oid, 'SELECT')
UNION ALL
SELECT format('%s.%s may not be written', schema, name)
FROM found
WHERE relkind = 'r' AND NOT owned AND name <> 'current_run'
  AND NOT (has_table_privilege(current_user, oid, CASE name WHEN 'slots' THEN 'UPDATE' ELSE 'INSERT' END)
           AND (name <> 'runs' OR has_table_privilege(current_user, oid, 'UPDATE')))
UNION ALL
SELECT format('schema %s may not be %s', nspname, CASE privilege WHEN 'USAGE' THEN 'used' ELSE 'given an index' END)
FROM pg_namespace
CROSS JOIN (VALUES ('USAGE'), ('CREATE')) AS privileges (privilege)
WHERE nspname IN ('graph_recs', 'graph_recs_store') AND (privilege = 'USAGE' OR nspname = 'graph_recs_store')
  AND NOT has_schema_privilege(current_user, pg_namespace.oid, privilege)
ORDER BY 1
