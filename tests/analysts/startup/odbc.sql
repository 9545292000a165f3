SHOW transaction_isolation;
SELECT typinput, oid FROM pg_type WHERE typname = 'lo';
SELECT c.relname, a.attname, a.attnum, t.typname, CASE WHEN i.indisprimary = 't' THEN 1 ELSE 0 END AS first, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped AND a.attnum > 0
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisunique = 'f'
WHERE c.relname LIKE 'rec%' ORDER BY c.relname, a.attnum;
SELECT t.typname AS name, coalesce(f.names, '{}') AS names FROM pg_type t
LEFT JOIN (SELECT attrelid, array_agg(attname) AS names FROM pg_attribute GROUP BY attrelid) f ON f.attrelid = t.typrelid WHERE t.typname = 'int4';
SELECT * FROM recommendations LIMIT 0;
