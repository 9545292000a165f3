SELECT 1;
SET SESSION TIMEZONE TO 'UTC';
show timezone;
with table_privileges as (
select NULL as role, t.schemaname as schema, t.objectname as table,
pg_catalog.has_any_column_privilege(current_user, concat('"', t.schemaname, '"', '.', '"', t.objectname, '"'), 'update') as update,
pg_catalog.has_any_column_privilege(current_user, concat('"', t.schemaname, '"', '.', '"', t.objectname, '"'), 'select') as select,
pg_catalog.has_table_privilege(current_user, concat('"', t.schemaname, '"', '.', '"', t.objectname, '"'), 'delete') as delete
from (
select schemaname, tablename as objectname from pg_catalog.pg_tables
union
select schemaname, viewname as objectname from pg_catalog.pg_views
union
select schemaname, matviewname as objectname from pg_catalog.pg_matviews
) t
where t.schemaname !~ '^pg_' and t.schemaname <> 'information_schema' and pg_catalog.has_schema_privilege(current_user, t.schemaname, 'usage')
)
select t.* from table_privileges t;
SELECT n.nspname AS schema, c.relname AS name, CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' END AS type,
d.description AS description, NULLIF(stat.n_live_tup, 0) AS estimated_row_count
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
LEFT JOIN pg_catalog.pg_description AS d ON (c.oid = d.objoid) AND (d.objsubid = 0) AND (d.classoid = CAST('pg_class' AS REGCLASS))
LEFT JOIN pg_stat_user_tables AS stat ON (n.nspname = stat.schemaname) AND (c.relname = stat.relname)
WHERE (c.relnamespace = n.oid) AND (n.nspname !~ '^pg_') AND (n.nspname <> 'information_schema') AND c.relkind IN ('r', 'p', 'v', 'f', 'm')
ORDER BY type ASC, schema ASC, name ASC;
SELECT c.column_name AS name, CASE WHEN c.udt_schema IN ('public', 'pg_catalog') THEN FORMAT('%s', c.udt_name) ELSE FORMAT('"%s"."%s"', c.udt_schema, c.udt_name) END AS database_type,
c.ordinal_position - 1 AS database_position, c.table_schema AS table_schema, c.table_name AS table_name,
pk.column_name IS NOT NULL AS pk, COL_DESCRIPTION(CAST(CAST(FORMAT('%I.%I', CAST(c.table_schema AS TEXT), CAST(c.table_name AS TEXT)) AS REGCLASS) AS OID), c.ordinal_position) AS field_comment,
((column_default IS NULL) OR (LOWER(column_default) = 'null')) AND (is_nullable = 'NO') AS database_required
FROM information_schema.columns AS c
LEFT JOIN (
SELECT tc.table_schema, tc.table_name, kc.column_name
FROM information_schema.table_constraints AS tc
INNER JOIN information_schema.key_column_usage AS kc ON (tc.constraint_name = kc.constraint_name) AND (tc.table_schema = kc.table_schema) AND (tc.table_name = kc.table_name)
WHERE tc.constraint_type = 'PRIMARY KEY'
) AS pk ON (c.table_schema = pk.table_schema) AND (c.table_name = pk.table_name) AND (c.column_name = pk.column_name)
WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND (c.table_schema IN ('graph_recs'))
ORDER BY table_schema ASC, table_name ASC, database_position ASC;
SELECT "graph_recs"."recommendations"."user_id" AS "user_id" FROM "graph_recs"."recommendations" WHERE ("graph_recs"."recommendations"."user_id" IS NOT NULL) LIMIT 100;
SELECT SUBSTRING("graph_recs"."recommendations"."score"::text, 1, 10) AS "score", count(*) AS "count" FROM "graph_recs"."recommendations" GROUP BY 1 ORDER BY 2 DESC LIMIT 5;
